//! A folder with stubs in the place of files that are not here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::told;
use crate::shell;

/// What a file holds that is not here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stub<'a> {
    /// A certificate and its key.
    Pair,
    Certificate,
    Key,
    Revoked,
    /// Parameters of a key exchange.
    Parameters,
    /// A line about a certificate beside it.
    CertificateList,
    /// A folder with a certificate.
    CertificateFolder,
    /// A whole response.
    Page(&'a str),
    /// A folder with responses.
    PageFolder,
    /// Keys of sessions.
    Bytes,
    Text(&'a str),
}

/// What certificates hold, made once.
pub(super) struct Material {
    certificate: String,
    key: String,
    revoked: String,
}

impl Material {
    /// Has openssl make a certificate for any name, its key and an empty list of revoked ones.
    ///
    /// # Errors
    /// When openssl is not here or the folder cannot be made.
    pub(super) fn make(place: &Path) -> Result<Self, String> {
        fs::create_dir_all(place).map_err(told(place))?;
        let file = |name: &str| place.join(name);
        let read = |name: &str| fs::read_to_string(file(name)).map_err(told(&file(name)));
        let mut make = openssl(place);
        make.args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "400"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-subj", "/CN=stub.example"])
            .args([
                "-addext",
                "subjectAltName=DNS:stub.example,DNS:*.stub.example",
            ])
            .args(["-keyout", "key.pem", "-out", "certificate.pem"]);
        shell::output(&mut make)?;
        fs::write(file("index.txt"), "").map_err(told(place))?;
        let settings = "[ca]\ndefault_ca=a\n[a]\ndatabase=index.txt\ndefault_md=sha256\n";
        fs::write(file("ca.cnf"), settings).map_err(told(place))?;
        let mut list = openssl(place);
        list.args(["ca", "-config", "ca.cnf", "-gencrl", "-crldays", "400"])
            .args(["-keyfile", "key.pem", "-cert", "certificate.pem"])
            .args(["-out", "revoked.pem"]);
        shell::output(&mut list)?;
        Ok(Self {
            certificate: read("certificate.pem")?,
            key: read("key.pem")?,
            revoked: read("revoked.pem")?,
        })
    }
}

fn openssl(place: &Path) -> Command {
    let mut command = Command::new("openssl");
    command.current_dir(place);
    command
}

/// The folder of one file.
pub(super) struct Scratch<'a> {
    place: PathBuf,
    material: &'a Material,
}

impl<'a> Scratch<'a> {
    /// # Errors
    /// When it cannot be made.
    pub(super) fn make(place: &Path, material: &'a Material) -> Result<Self, String> {
        fs::create_dir_all(place).map_err(told(place))?;
        Ok(Self {
            place: place.to_path_buf(),
            material,
        })
    }

    /// Where a path of the file is here.
    pub(super) fn path(&self, named: &str) -> PathBuf {
        let inner = named.trim_start_matches('/').replace("..", "up");
        if named.starts_with('/') {
            self.place.join("root").join(inner)
        } else {
            self.place.join(inner)
        }
    }

    /// Writes a file of the folder itself.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.place.join(name);
        fs::write(&path, text).map_err(told(&path))?;
        Ok(path)
    }

    /// Puts a stub where a path of the file is here, unless there is one; returns that path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn put(&self, named: &str, stub: Stub<'_>) -> Result<String, String> {
        let path = self.path(named);
        if !path.exists() {
            self.fill(&path, stub)?;
        }
        Ok(path.display().to_string())
    }

    fn fill(&self, path: &Path, stub: Stub<'_>) -> Result<(), String> {
        let parent = path.parent().unwrap_or(&self.place);
        fs::create_dir_all(parent).map_err(told(parent))?;
        let (certificate, key) = (&self.material.certificate, &self.material.key);
        let text = match stub {
            Stub::Pair => format!("{certificate}{key}"),
            Stub::Certificate => certificate.clone(),
            Stub::Key => key.clone(),
            Stub::Revoked => self.material.revoked.clone(),
            Stub::Parameters => {
                "-----BEGIN DH PARAMETERS-----\nMAYCAQcCAQU=\n-----END DH PARAMETERS-----\n"
                    .to_owned()
            }
            Stub::CertificateList => {
                let beside = path.with_extension("stub.pem");
                self.fill(&beside, Stub::Pair)?;
                format!("{}\n", beside.display())
            }
            Stub::CertificateFolder => return self.fill(&path.join("stub.pem"), Stub::Pair),
            Stub::Page(status) => format!(
                "HTTP/1.0 {status} Stub\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<p>stub</p>\n"
            ),
            Stub::PageFolder => return self.fill(&path.join("503.http"), Stub::Page("503")),
            Stub::Bytes => "0123456789abcdef".repeat(5),
            Stub::Text(text) => text.to_owned(),
        };
        fs::write(path, text).map_err(told(path))
    }
}
