//! A running nginx, reached through a Unix socket in a folder of its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// It is killed when dropped.
pub(crate) struct Nginx {
    child: Child,
    folder: tempfile::TempDir,
}

impl Nginx {
    /// Starts it with `location` within its only server; `FOLDER` in it is the folder.
    pub(crate) fn start(location: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let settings = path.join("nginx.conf");
        let location = location.replace("FOLDER", path.to_str().unwrap());
        fs::write(&settings, document(path.to_str().unwrap(), &location)).unwrap();
        let search = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap());
        let child = Command::new("nginx")
            .env("PATH", search)
            .arg("-p")
            .arg(path)
            .args(["-e", "error.log", "-c"])
            .arg(&settings)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("nginx: {error}: `cargo xtask peers` installs it"));
        let mut nginx = Self { child, folder };
        for _ in 0..1000 {
            if UnixStream::connect(nginx.socket()).is_ok() {
                return nginx;
            }
            let log = || fs::read_to_string(nginx.folder.path().join("error.log"));
            assert!(nginx.child.try_wait().unwrap().is_none(), "nginx ended: {:?}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("nginx does not listen");
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("in.sock")
    }

    /// A path in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All that it says on a new connection to these bytes, until it closes.
    pub(crate) fn says_to(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // It may have closed already, with its answer on the way.
        let _ = stream.write_all(bytes);
        let mut said = Vec::new();
        if let Err(error) = stream.read_to_end(&mut said) {
            let reset = error.kind() == std::io::ErrorKind::ConnectionReset;
            assert!(reset, "{error} after {:?}", bytes.escape_ascii().to_string());
        }
        said
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn document(folder: &str, location: &str) -> String {
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log error.log crit;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    lingering_close off;
    server_tokens off;
    default_type text/plain;
    client_max_body_size 0;
    client_header_buffer_size 8k;
    underscores_in_headers on;
    ignore_invalid_headers off;
    merge_slashes off;
    server {{
        listen unix:{folder}/in.sock;
        location / {{
            {location}
        }}
    }}
}}
"
    )
}
