//! Many real clients that join at once. All get the complete table, and none is set offline meanwhile.
//!
//! It starts 60 clients in `make test` and 1,000 in `make crowd` (`CHAT_CROWD`), which prints the time.

use std::time::Instant;

use nix::sys::signal::Signal;

use crate::support::Program;

fn crowd() -> usize {
    std::env::var("CHAT_CROWD").map_or(60, |number| number.parse().expect("CHAT_CROWD is a number"))
}

#[test]
#[allow(clippy::print_stdout, reason = "`make crowd` shows it")]
fn all_clients_of_a_crowd_get_the_table_and_stay_online() {
    let crowd = crowd();
    let (server, port) = Program::server();
    let begin = Instant::now();
    let name = |number| format!("n{number}");
    let clients: Vec<Program> = (0..crowd)
        .map(|number| Program::start(&["-c", &name(number), "127.0.0.1", &port, "0", "--json", "--silent-leave"]))
        .collect();
    let complete = format!("\"total\":{crowd},\"online_count\":{crowd}");
    for client in &clients {
        client.until_line(|line| line.contains(&complete));
    }
    println!("{crowd} clients have the complete table after {:.2} s", begin.elapsed().as_secs_f64());
    drop(clients);
    server.signal(Signal::SIGTERM);
    let (lines, ..) = server.end();
    let count = |end: &str| lines.iter().filter(|line| line.ends_with(end)).count();
    assert_eq!((count(" registered]"), count(" is offline]")), (crowd, 0));
}
