//! A real server for a test: a process of its own on a free loopback port, with a folder that goes with it.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A server that ends with the test.
pub struct Sqld {
    binary: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
    process: Child,
    pub port: u16,
    pub admin: u16,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Sqld {
    /// Starts one, if there is a binary.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let binary = PathBuf::from(std::env::var_os("AIOLIBSQL_TEST_SQLD")?);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("aiolibsql-sqld-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let (port, admin) = (free_port(), free_port());
        let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let process = launch(&binary, &folder, port, admin, &arguments);
        let server = Self {
            binary,
            arguments,
            folder,
            process,
            port,
            admin,
        };
        server.wait();
        Some(server)
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        while !self.is_ready() {
            assert!(Instant::now() < until, "the server does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_ready(&self) -> bool {
        let answer = self.http(
            self.port,
            "GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        );
        answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    fn http(&self, port: u16, request: &str) -> Option<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
        socket.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Makes a namespace.
    pub fn create_namespace(&self, name: &str) {
        let request = format!(
            "POST /v1/namespaces/{name}/create HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        let answer = self.http(self.admin, &request).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Ends the process at once and starts another on the same port and files.
    pub fn restart(&mut self) {
        self.kill();
        self.process = launch(
            &self.binary,
            &self.folder,
            self.port,
            self.admin,
            &self.arguments,
        );
        self.wait();
    }

    pub fn kill(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }
}

fn launch(
    binary: &PathBuf,
    folder: &PathBuf,
    port: u16,
    admin: u16,
    arguments: &[String],
) -> Child {
    Command::new(binary)
        .arg("--no-welcome")
        .arg("-d")
        .arg(folder)
        .args(["--http-listen-addr", &format!("127.0.0.1:{port}")])
        .args(["--admin-listen-addr", &format!("127.0.0.1:{admin}")])
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Drop for Sqld {
    fn drop(&mut self) {
        self.kill();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
