//! What an NGINX was built with.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell;

/// What `nginx -V` says.
///
/// # Errors
/// When it cannot run.
pub(crate) fn build(program: &Path) -> Result<String, String> {
    shell::output(Command::new(program).arg("-V"))
}

/// The layer 4 part of an NGINX.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    BuiltIn,
    /// In a file that has to be loaded; it may not be installed.
    Module(PathBuf),
    /// This NGINX was built without.
    None,
}

/// Where the stream module is, going by what `nginx -V` said.
pub(crate) fn stream(build: &str) -> Stream {
    let mut words = build.split_whitespace();
    if words.clone().any(|word| word == "--with-stream") {
        return Stream::BuiltIn;
    }
    if !words.clone().any(|word| word == "--with-stream=dynamic") {
        return Stream::None;
    }
    let folder = words
        .find_map(|word| word.strip_prefix("--modules-path="))
        .unwrap_or("/usr/lib/nginx/modules");
    Stream::Module(Path::new(folder).join("ngx_stream_module.so"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_module_is_found_in_what_nginx_says() {
        let debian = "nginx version: nginx/1.22.1\nconfigure arguments: --prefix=/usr/share/nginx \
            --modules-path=/x/modules --with-stream=dynamic --with-stream_ssl_module";
        let file = PathBuf::from("/x/modules/ngx_stream_module.so");
        assert_eq!(stream(debian), Stream::Module(file));
        assert_eq!(stream("arguments: --with-stream"), Stream::BuiltIn);
        let without = "arguments: --with-http_v2_module --with-stream_ssl_module";
        assert_eq!(stream(without), Stream::None);
    }
}
