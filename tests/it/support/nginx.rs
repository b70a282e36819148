//! A real nginx as a backend.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use super::eventually;
use super::place::{Directory, free_addr};
use super::proxy::end_with_this_thread;

/// A running nginx; ended when dropped.
pub struct Nginx {
    pub addr: SocketAddr,
    child: Child,
    pub directory: Directory,
}

impl Nginx {
    /// Starts nginx with these directives inside its `server` block.
    #[track_caller]
    pub fn start(server: &str) -> Nginx {
        let addr = free_addr();
        let directory = Directory::new();
        let dir = directory.path().display();
        let config = format!(
            "daemon off; master_process off; worker_rlimit_nofile 4096;
             pid {dir}/pid; error_log {dir}/error.log;
             events {{ worker_connections 1024; }}
             http {{
                 access_log off; root {dir};
                 client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
                 fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
                 server {{ listen {addr}; {server} }}
             }}"
        );
        let path = directory.write("nginx.conf", &config);
        let mut command = Command::new(program());
        command.arg("-c").arg(path).arg("-p").arg(directory.path());
        command.stdin(Stdio::null()).stderr(Stdio::null());
        end_with_this_thread(&mut command);
        let child = command.spawn().expect("start nginx");
        let mut nginx = Nginx {
            addr,
            child,
            directory,
        };
        eventually("nginx accepts", || {
            let ended = nginx.child.try_wait().expect("wait for nginx");
            assert!(ended.is_none(), "nginx ended at its start");
            TcpStream::connect(addr).is_ok()
        });
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where nginx is: Debian keeps it out of an ordinary user's search path.
fn program() -> &'static str {
    let places = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"];
    let found = places
        .iter()
        .find(|place| std::path::Path::new(place).exists());
    found.expect("the tests need nginx as a backend; tests/all.sh installs it")
}
