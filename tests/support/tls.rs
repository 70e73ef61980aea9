//! A caller that is no member. It trusts any server, whatever it shows itself, so that the server
//! decides.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use tokio_rustls::rustls;
use windrow_security::Credentials;

use super::wait::DEADLINE;

/// The beginning of an HTTP/2 connection.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

#[derive(Debug)]
struct Gullible(Arc<CryptoProvider>);

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The answer of a port to `greeting` and the beginning of HTTP/2 in plain text; empty if it closes
/// the connection.
pub fn answer_in_plain(address: &str, greeting: &str) -> Vec<u8> {
    talk(connect(address, greeting))
}

/// The answer of a port to `greeting` and the beginning of HTTP/2, after a handshake with these
/// credentials.
pub fn answer_over_tls(address: &str, greeting: &str, shown: Option<&Credentials>) -> Vec<u8> {
    talk(over_tls(address, greeting, shown))
}

fn over_tls(
    address: &str,
    greeting: &str,
    shown: Option<&Credentials>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible(provider)));
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(own) => builder
            .with_client_auth_cert(vec![own.certificate().clone()], own.key().clone_key())
            .unwrap(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("anything.example").unwrap();
    let tls = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(tls, connect(address, greeting))
}

/// A newcomer without a certificate calls Enroll with an empty message, and waits until the server
/// closes the connection.
pub fn enroll_with_garbage_until_the_end(address: &str) {
    let mut stream = over_tls(address, "", None);
    stream.write_all(HTTP2).and_then(|()| stream.write_all(&empty_enroll())).unwrap();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("no end"),
        // The kind of end does not matter.
        Ok(_) | Err(_) => assert!(!answer.is_empty(), "the call is answered"),
    }
}

/// The frames of a call of Enroll with an empty message.
fn empty_enroll() -> Vec<u8> {
    let (path, host) = ("/windrow.v1.Enrollment/Enroll", "anything.example");
    // RFC 7541: `:method POST`, `:scheme https`, and literals.
    let mut headers = vec![0x83, 0x87];
    for (name, value) in [(&[0x04][..], path), (&[0x01], host), (&[0x0f, 0x10], "application/grpc")]
    {
        headers.extend_from_slice(name);
        headers.push(value.len() as u8);
        headers.extend_from_slice(value.as_bytes());
    }
    headers.extend_from_slice(b"\0\x02te\x08trailers");
    let end_headers = [0, 0, headers.len() as u8, 1, 4, 0, 0, 0, 1];
    let end_stream = [0, 0, 5, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0];
    [&end_headers[..], &headers, &end_stream].concat()
}

fn connect(address: &str, greeting: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(greeting.as_bytes()).unwrap();
    stream
}

/// The first bytes of the answer. A server that refuses ends the connection in some way.
fn talk(mut stream: impl Read + Write) -> Vec<u8> {
    let asked = stream.write_all(HTTP2).and_then(|()| stream.flush());
    let mut bytes = [0; 64];
    match asked.and_then(|()| stream.read(&mut bytes)) {
        Ok(count) => bytes[..count].to_vec(),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            panic!("neither an answer nor an end")
        }
        Err(_) => Vec::new(),
    }
}
