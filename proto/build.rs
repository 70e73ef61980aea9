//! Compiles the .proto files with `protox`, so that no protoc need be installed.

use protox::prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=windrow");
    let files = ["blobs", "child", "client", "enrollment", "session", "shuffle"]
        .map(|name| format!("windrow/v1/{name}.proto"));
    let descriptors = protox::compile(files, ["."])?;
    let folder = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(folder.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // Shuffle blocks arrive as `Bytes`: slices of the receive buffer, not copies.
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
