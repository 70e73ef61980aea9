//! Compiles the .proto files with `protox`, so that no protoc has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=windrow");
    let files = ["blobs", "child", "client", "session", "shuffle"]
        .map(|name| format!("windrow/v1/{name}.proto"));
    let descriptors = protox::compile(files, ["."])?;
    // Shuffle blocks arrive as `Bytes`: slices of the receive buffer, not copies.
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
