//! A pod without anything but a network: enters the node's namespaces, makes its own, waits to be attached, and then
//! obeys one command a line: `listen PORT`, `connect IP PORT`, `fetch IP PORT TEXT`, `flood IP PORT BYTES`, `sink PORT`, `push IP PORT BYTES`, `ask TIMES`,
//! `latency IP PORT TIMES`, `hold IP PORT`, `udp IP PORT`, `answer-udp PORT`, `resolve NAME`, `spoof SOURCE IP PORT`. Each is answered by one line, `ok …` or `error …`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};
use nix::unistd::{Gid, Uid, setresgid, setresuid};
use node::net::pod::{PodLink, configure};

use crate::failure::{Context, Result, fail};

pub fn run(arguments: &[String]) -> Result<()> {
    let [user, net, ids, resolver] = arguments else {
        return fail("pod USER NET IDS RESOLVER");
    };
    enter(user, net, ids.parse()?)?;
    if !resolver.is_empty() {
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .context("make mounts private")?;
        mount(
            Some(resolver.as_str()),
            "/etc/resolv.conf",
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .context("show the pod its resolv.conf")?;
    }
    println!("entered");
    let mut lines = std::io::stdin().lines();
    let start = lines.next().context("told to start")??;
    let (address, gateway) = start.split_once(' ').context("ADDRESS GATEWAY")?;
    let link = PodLink {
        address: address.parse()?,
        gateway: gateway.parse()?,
    };
    let begun = Instant::now();
    for warning in configure(&link)? {
        eprintln!("warning: {}", warning.0);
    }
    println!("ready {}", begun.elapsed().as_micros());
    let mut held = Vec::new();
    for line in lines {
        match obey(&line?, link.address, &mut held) {
            Ok(answer) => println!("ok {answer}"),
            Err(error) => println!("error {}", error),
        }
    }
    Ok(())
}

fn enter(user: &str, net: &str, ids: u32) -> Result<()> {
    // Both are opened before the first is entered: afterwards /proc/PID is somebody else's.
    let (user, net) = (File::open(user).context(user.to_owned())?, File::open(net)?);
    setns(user, CloneFlags::CLONE_NEWUSER).context("enter the node's user namespace")?;
    drop(net);
    if ids > 1 {
        let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
        setresgid(group, group, group)?;
        setresuid(user, user, user)?;
        nix::sys::prctl::set_dumpable(true)?;
    }
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .context("make the pod's namespaces")?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", "0 0 1").context("map users")?;
    std::fs::write("/proc/self/gid_map", "0 0 1").context("map groups")
}

fn obey(line: &str, own: Ipv4Addr, held: &mut Vec<TcpStream>) -> Result<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let at = |ip: &str, port: &str| -> Result<SocketAddrV4> {
        Ok(SocketAddrV4::new(ip.parse()?, port.parse()?))
    };
    match words.as_slice() {
        ["listen", port] => listen(port.parse()?, own),
        ["connect", ip, port] => connect(at(ip, port)?, ""),
        ["fetch", ip, port, text] => connect(at(ip, port)?, text),
        ["sink", port] => sink(port.parse()?),
        ["push", ip, port, bytes] => push(at(ip, port)?, bytes.parse()?),
        ["ask", times] => ask(times.parse()?),
        ["flood", ip, port, bytes] => flood(at(ip, port)?, bytes.parse()?),
        ["hold", ip, port] => {
            held.push(dial(at(ip, port)?)?);
            Ok(String::new())
        }
        ["latency", ip, port, times] => latency(at(ip, port)?, times.parse()?),
        ["answer-udp", port] => answer_udp(port.parse()?, own),
        ["udp", ip, port] => udp(at(ip, port)?),
        ["spoof", ip, target, port] => spoof(ip.parse()?, at(target, port)?),
        ["resolve", name] => resolve(name),
        _ => fail(format!("unknown command {line}")),
    }
}

/// Serves lines: says who it is and whom it sees, then echoes until the client has finished.
fn listen(port: u16, own: Ipv4Addr) -> Result<String> {
    let listener = TcpListener::bind(("0.0.0.0", port)).context("bind")?;
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || serve(client, own));
        }
    });
    Ok(port.to_string())
}

fn serve(mut client: TcpStream, own: Ipv4Addr) -> Result<()> {
    writeln!(client, "{own} sees {}", client.peer_addr()?.ip())?;
    let mut reader = client.try_clone()?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let length = reader.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        client.write_all(&buffer[..length])?;
    }
}

fn dial(address: SocketAddrV4) -> Result<TcpStream> {
    let begun = Instant::now();
    let stream = TcpStream::connect_timeout(&address.into(), Duration::from_secs(10))
        .context(format!("connect, after {} ms", begun.elapsed().as_millis()))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects, sends `text`, finishes its side and reads all that comes.
fn connect(address: SocketAddrV4, text: &str) -> Result<String> {
    let mut stream = dial(address)?;
    stream.write_all(text.as_bytes()).context("send")?;
    // A connection that was reset meanwhile cannot be finished; reading says why.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("read")?;
    Ok(answer.replace('\n', "|"))
}

/// Has `bytes` echoed and says how many came back and how fast both ways together were.
fn flood(address: SocketAddrV4, bytes: usize) -> Result<String> {
    let stream = dial(address)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut greeting = String::new();
    reader.read_line(&mut greeting)?;
    let begun = Instant::now();
    let mut writer = stream;
    let sender = std::thread::spawn(move || -> Result<()> {
        let block = vec![7; 256 * 1024];
        let mut left = bytes;
        while left > 0 {
            let part = left.min(block.len());
            writer.write_all(&block[..part])?;
            left -= part;
        }
        Ok(writer.shutdown(std::net::Shutdown::Write)?)
    });
    let mut received = 0;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            length => received += length,
        }
    }
    sender.join().expect("the sender does not panic")?;
    Ok(format!(
        "{received} bytes in {} us",
        begun.elapsed().as_micros()
    ))
}

/// Takes all that clients send and tells each one when it has it.
fn sink(port: u16) -> Result<String> {
    let listener = TcpListener::bind(("0.0.0.0", port)).context("bind")?;
    std::thread::spawn(move || -> Result<()> {
        for client in listener.incoming() {
            let mut client = client?;
            let mut buffer = vec![0; 256 * 1024];
            while client.read(&mut buffer)? > 0 {}
            client.write_all(&[1])?;
        }
        Ok(())
    });
    Ok(port.to_string())
}

/// Sends `bytes` and says how long it took until the other side had them.
fn push(address: SocketAddrV4, bytes: usize) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let block = vec![7; 256 * 1024];
    let begun = Instant::now();
    let mut left = bytes;
    while left > 0 {
        let part = left.min(block.len());
        stream.write_all(&block[..part])?;
        left -= part;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.read_exact(&mut [0])?;
    Ok(begun.elapsed().as_micros().to_string())
}

/// The median time of a question to the cluster's DNS about a name nobody has.
fn ask(times: usize) -> Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect("10.96.0.10:53")?;
    let question = b"\xab\xcd\x01\0\0\x01\0\0\0\0\0\0\x01x\x07cluster\x05local\0\0\x01\0\x01";
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Instant::now();
        socket.send(question)?;
        socket.recv(&mut [0; 512])?;
        taken.push(begun.elapsed());
    }
    Ok(percentiles(taken))
}

fn percentiles(mut taken: Vec<Duration>) -> String {
    taken.sort_unstable();
    let at = |part: usize| taken[(taken.len() - 1) * part / 100].as_micros();
    format!("p50 {} us, p99 {} us", at(50), at(99))
}

/// The median time of connecting and reading the first byte.
fn latency(address: SocketAddrV4, times: usize) -> Result<String> {
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(address)?;
        stream.read_exact(&mut [0])?;
        taken.push(begun.elapsed());
    }
    Ok(percentiles(taken))
}

/// Answers every datagram with who it is and whom it sees.
fn answer_udp(port: u16, own: Ipv4Addr) -> Result<String> {
    let socket = UdpSocket::bind(("0.0.0.0", port)).context("bind")?;
    std::thread::spawn(move || -> Result<()> {
        loop {
            let (_, from) = socket.recv_from(&mut [0; 512])?;
            socket.send_to(format!("{own} sees {}", from.ip()).as_bytes(), from)?;
        }
    });
    Ok(port.to_string())
}

/// Sends a datagram and says what comes back, or how it was refused.
fn udp(address: SocketAddrV4) -> Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.connect(address)?;
    let begun = Instant::now();
    socket.send(b"ping")?;
    let mut buffer = [0; 512];
    let length = socket
        .recv(&mut buffer)
        .context(format!("receive, after {} ms", begun.elapsed().as_millis()))?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Sends a datagram with a source address that is not the pod's own, as a pod's root can.
fn spoof(source: Ipv4Addr, target: SocketAddrV4) -> Result<String> {
    let flags = SockFlag::empty();
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    setsockopt(&socket, sockopt::IpTransparent, &true).context("claim any source")?;
    bind(
        socket.as_raw_fd(),
        &SockaddrIn::from(SocketAddrV4::new(source, 0)),
    )?;
    UdpSocket::from(socket).send_to(b"spoofed", target)?;
    Ok(String::new())
}

fn resolve(name: &str) -> Result<String> {
    let begun = Instant::now();
    let found = (name, 0_u16)
        .to_socket_addrs()
        .context(format!("resolve, after {} ms", begun.elapsed().as_millis()))?;
    let mut addresses: Vec<String> = found.map(|address| address.ip().to_string()).collect();
    addresses.dedup();
    Ok(addresses.join(","))
}
