//! Tests of each fault and each limit of the emulator, one at a time.

use super::*;

const NOW: Instant = Instant::from_micros(1_000_000);

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn with(command: &str) -> Emulator<SocketAddr> {
    let mut emulator = Emulator::default();
    emulator.execute(&command.parse().unwrap()).unwrap();
    emulator
}

fn on(link: LinkModel) -> Emulator<u32> {
    Emulator::new(7, link)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn arrivals<K: Copy + Ord>(emulator: &mut Emulator<K>, until: Instant) -> Vec<u8> {
    std::iter::from_fn(|| emulator.due(until)).map(|(_, bytes)| bytes[0]).collect()
}

/// Asserts that no datagram is held and no path is remembered.
fn assert_at_rest<K: Copy + Ord>(emulator: &Emulator<K>) {
    assert!(emulator.is_empty() && emulator.memory.is_empty() && emulator.deadline().is_none());
}

#[test]
fn without_faults_a_datagram_leaves_at_once_and_nothing_is_remembered() {
    let mut emulator = Emulator::default();
    assert!(emulator.is_transparent());
    assert_eq!(emulator.send(NOW, 9, &[1]), None);
    assert!(!emulator.is_transparent());
    assert_eq!(arrivals(&mut emulator, NOW), [1]);
    assert_at_rest(&emulator);
}

#[test]
fn a_drop_fault_drops_exactly_its_count_on_its_path_alone() {
    let mut emulator = with("to=127.0.0.1:9,drop=2");
    assert_eq!(emulator.send(NOW, addr(8), &[0]), None);
    let swallowed = [1, 2, 3].map(|n| emulator.send(NOW, addr(9), &[n]));
    assert_eq!(swallowed, [Some(FaultKind::Drop), Some(FaultKind::Drop), None]);
    assert_eq!(arrivals(&mut emulator, NOW), [0, 3]);
    assert_at_rest(&emulator);
}

#[test]
fn on_the_same_path_drops_add_up_and_other_faults_are_replaced() {
    let mut emulator = with("drop=1,loss=100%");
    emulator.execute(&"drop=1,loss=0%".parse().unwrap()).unwrap();
    assert_eq!(
        [1, 2, 3].map(|n| emulator.send(NOW, addr(9), &[n])),
        [Some(FaultKind::Drop), Some(FaultKind::Drop), None]
    );
}

#[test]
fn faults_of_one_address_and_of_all_addresses_add_up() {
    let mut emulator = with("delay=10ms,drop=1");
    emulator.execute(&"to=127.0.0.1:9,delay=5ms,drop=1".parse().unwrap()).unwrap();
    assert_eq!(
        [1, 2, 3].map(|n| emulator.send(NOW, addr(9), &[n])),
        [Some(FaultKind::Drop), Some(FaultKind::Drop), None]
    );
    assert_eq!(emulator.deadline(), Some(NOW + ms(15)));
    emulator.execute(&"cut".parse().unwrap()).unwrap();
    assert_eq!([8, 9].map(|port| emulator.send(NOW, addr(port), &[0])), [Some(FaultKind::Cut); 2]);
}

#[test]
fn the_same_seed_loses_the_same_datagrams() {
    let lost = |seed: u64| -> Vec<bool> {
        let mut emulator = with(&format!("loss=30%,seed={seed}"));
        (0..1000).map(|_| emulator.send(NOW, addr(9), &[0]).is_some()).collect()
    };
    assert_eq!(lost(7), lost(7));
    assert_ne!(lost(7), lost(8));
    let count = lost(7).into_iter().filter(|lost| *lost).count();
    assert!((250..350).contains(&count), "{count}");
}

#[test]
fn losses_come_in_bursts_on_their_path() {
    let mut emulator = on(LinkModel { loss: 0.05, burst: 0.8, ..LinkModel::TRANSPARENT });
    let lost: Vec<bool> = (0..20_000).map(|_| emulator.send(NOW, 1, &[0]).is_some()).collect();
    let after_loss: Vec<bool> = lost.windows(2).filter(|pair| pair[0]).map(|pair| pair[1]).collect();
    let share = |lost: &[bool]| lost.iter().filter(|lost| **lost).count() * 100 / lost.len();
    assert!((75..85).contains(&share(&after_loss)), "{}", share(&after_loss));
    // A burst has five losses on average: 0.05 / (0.05 + 0.2) = 20 % of all datagrams are lost.
    assert!((17..23).contains(&share(&lost)), "{}", share(&lost));
    let one = on(LinkModel { loss: 1.0, burst: 1.0, ..LinkModel::TRANSPARENT }).send(NOW, 1, &[0]);
    assert_eq!(one, Some(FaultKind::Loss));
}

#[test]
fn latency_and_jitter_are_within_their_bounds() {
    let mut emulator = on(LinkModel { latency: ms(10), jitter: ms(20), ..LinkModel::TRANSPARENT });
    let mut delays = Vec::new();
    for _ in 0..1_000 {
        emulator.send(NOW, 1, &[0]);
        delays.extend(emulator.deadline().map(|at| at.since(NOW)));
        arrivals(&mut emulator, NOW + ms(30));
    }
    let (least, most) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
    assert!(*least >= ms(10) && *least < ms(11) && *most > ms(29) && *most <= ms(30), "{least:?} to {most:?}");
    assert_at_rest(&emulator);
}

#[test]
fn bandwidth_delays_datagrams_on_their_path_alone() {
    let mut emulator = on(LinkModel { latency: ms(1), bandwidth: 1_000, ..LinkModel::TRANSPARENT });
    for (path, byte) in [(1, 1), (1, 2), (2, 3)] {
        emulator.send(NOW, path, &[byte; 10]);
    }
    assert_eq!(arrivals(&mut emulator, NOW + ms(10)), [] as [u8; 0]);
    assert_eq!(arrivals(&mut emulator, NOW + ms(11)), [1, 3]);
    assert_eq!(arrivals(&mut emulator, NOW + ms(20)), [] as [u8; 0]);
    assert_eq!(arrivals(&mut emulator, NOW + ms(21)), [2]);
    assert_at_rest(&emulator);
}

/// The numbers of the datagrams that a path accepts at `now`, out of those in `numbers`. Each has 10 bytes.
fn accepted(emulator: &mut Emulator<u32>, now: Instant, path: u32, numbers: std::ops::Range<u8>) -> Vec<u8> {
    numbers.filter(|n| emulator.send(now, path, &[*n; 10]).is_none()).collect()
}

#[test]
fn a_datagram_that_finds_the_queue_full_is_lost() {
    let mut emulator = on(LinkModel { bandwidth: 1_000, queue: 2, ..LinkModel::TRANSPARENT });
    // A transmission takes 10 ms. The first datagram does not wait.
    assert_eq!(accepted(&mut emulator, NOW, 1, 0..9), [0, 1, 2]);
    let just_before = NOW + ms(10) - Duration::from_micros(1);
    assert_eq!(accepted(&mut emulator, just_before, 1, 10..12), [] as [u8; 0]);
    assert_eq!(accepted(&mut emulator, NOW + ms(10), 1, 20..29), [20]);
    assert_eq!(accepted(&mut emulator, NOW + ms(10), 2, 30..39), [30, 31, 32], "each path has its own queue");
    assert_eq!(accepted(&mut emulator, NOW + ms(35), 1, 40..49), [40, 41]);
    assert_eq!(arrivals(&mut emulator, NOW + ms(60)), [0, 1, 30, 2, 31, 20, 32, 40, 41]);
    assert_at_rest(&emulator);
}

#[test]
fn a_queue_of_0_has_no_limit_and_without_bandwidth_nothing_waits() {
    for (bandwidth, queue) in [(1_000_000, 0), (0, 1)] {
        let mut emulator = on(LinkModel { bandwidth, queue, ..LinkModel::TRANSPARENT });
        assert_eq!(accepted(&mut emulator, NOW, 1, 0..200).len(), 200);
        assert!(emulator.memory.values().all(|memory| memory.queue.is_empty()), "no times are kept in vain");
    }
}

#[test]
fn a_full_queue_does_not_begin_a_burst_of_losses() {
    let mut emulator = on(LinkModel { bandwidth: 1_000, queue: 1, burst: 1.0, ..LinkModel::TRANSPARENT });
    assert_eq!(accepted(&mut emulator, NOW, 1, 0..5), [0, 1]);
    assert_eq!(accepted(&mut emulator, NOW + ms(10), 1, 5..9), [5]);
}

#[test]
fn paths_that_share_a_link_share_its_bandwidth_and_its_queue() {
    let mut emulator = on(LinkModel::TRANSPARENT);
    emulator.share_link(&[1, 2, 3]);
    emulator.set_path_link(2, LinkModel { latency: ms(1), bandwidth: 1_000, queue: 3, ..LinkModel::TRANSPARENT });
    for path in [1, 2, 3] {
        assert_eq!(emulator.send(NOW, path, &[0; 10]), None);
    }
    assert_eq!(accepted(&mut emulator, NOW, 1, 1..9), [1]);
    assert_eq!(accepted(&mut emulator, NOW, 2, 1..9), [] as [u8; 0]);
    assert_eq!(accepted(&mut emulator, NOW, 4, 1..9).len(), 8, "the other paths are free");
    assert_eq!(arrivals(&mut emulator, NOW).len(), 8);
    let shared = [11, 21, 31, 41].map(|at| {
        assert_eq!(emulator.deadline(), Some(NOW + ms(at)));
        emulator.due(NOW + ms(at)).map(|(path, bytes)| (path, bytes[0]))
    });
    assert_eq!(shared, [Some((1, 0)), Some((2, 0)), Some((3, 0)), Some((1, 1))]);
    assert_at_rest(&emulator);
}

#[test]
fn faults_of_a_path_do_not_apply_to_the_others_that_share_its_link() {
    let mut emulator = on(LinkModel::TRANSPARENT);
    emulator.share_link(&[1, 2]);
    emulator.add_fault(Some(2), Fault::Delay(ms(5)));
    emulator.add_fault(Some(1), Fault::Drop(1));
    assert_eq!([1, 1, 2].map(|path| emulator.send(NOW, path, &[0])), [Some(FaultKind::Drop), None, None]);
    assert_eq!(emulator.due(NOW).map(|(path, _)| path), Some(1));
    assert_eq!((emulator.due(NOW), emulator.deadline()), (None, Some(NOW + ms(5))));
}

#[test]
fn a_path_keeps_its_own_link_until_heal_or_until_all_links_are_replaced() {
    let mut emulator = on(LinkModel::PERFECT);
    let dead = LinkModel { loss: 1.0, ..LinkModel::PERFECT };
    emulator.set_path_link(1, dead);
    assert_eq!([1, 2].map(|path| emulator.send(NOW, path, &[0])), [Some(FaultKind::Loss), None]);
    emulator.heal();
    assert_eq!(emulator.send(NOW, 1, &[0]), None);
    emulator.set_path_link(1, LinkModel::PERFECT);
    emulator.set_link(dead);
    assert_eq!([1, 2].map(|path| emulator.send(NOW, path, &[0])), [Some(FaultKind::Loss); 2]);
}

#[test]
fn a_cut_drops_everything_until_it_is_healed() {
    let mut emulator = with("cut");
    assert!(!emulator.is_transparent());
    assert_eq!(emulator.send(NOW, addr(9), &[1]), Some(FaultKind::Cut));
    emulator.execute(&"heal".parse().unwrap()).unwrap();
    assert!(emulator.is_transparent());
}

#[test]
fn a_duplicate_leaves_with_its_original_unless_jitter_separates_them() {
    let mut emulator = with("duplicate=100%");
    assert_eq!(emulator.send(NOW, addr(9), &[2]), None);
    assert_eq!(arrivals(&mut emulator, NOW), [2, 2]);
    let mut jittery = on(LinkModel { duplicate: 1.0, jitter: ms(500), ..LinkModel::TRANSPARENT });
    jittery.send(NOW, 1, &[1]);
    let first = jittery.deadline().unwrap();
    assert_eq!(arrivals(&mut jittery, first), [1]);
    assert!(jittery.deadline().unwrap() > first);
}

#[test]
fn a_reordered_datagram_leaves_after_its_successor_or_after_the_time_limit() {
    let mut emulator = with("reorder=100%");
    emulator.send(NOW, addr(9), &[1]);
    emulator.execute(&"heal".parse().unwrap()).unwrap();
    assert_eq!(arrivals(&mut emulator, NOW), [] as [u8; 0]);
    emulator.send(NOW, addr(8), &[3]);
    emulator.send(NOW, addr(9), &[2]);
    assert_eq!(arrivals(&mut emulator, NOW), [3, 2, 1]);
    assert_at_rest(&emulator);
    let mut alone = with("reorder=100%");
    alone.send(NOW, addr(9), &[1]);
    assert_eq!(alone.deadline(), Some(NOW + REORDER_WAITS));
}

#[test]
fn with_certain_reordering_every_other_datagram_is_overtaken() {
    let mut emulator = with("reorder=100%");
    for n in 1..=4 {
        emulator.send(NOW, addr(9), &[n]);
    }
    assert_eq!(arrivals(&mut emulator, NOW), [2, 1, 4, 3]);
    emulator.send(NOW, addr(9), &[5]);
    assert_eq!(arrivals(&mut emulator, NOW + REORDER_WAITS), [5]);
    assert_at_rest(&emulator);
}

#[test]
fn an_overtaken_datagram_never_arrives_earlier_than_its_link_allows() {
    let mut emulator = on(LinkModel { latency: ms(20), reorder: 1.0, ..LinkModel::TRANSPARENT });
    emulator.send(NOW, 1, &[1]);
    emulator.set_link(LinkModel { latency: ms(5), ..LinkModel::TRANSPARENT });
    emulator.send(NOW, 1, &[2]);
    assert_eq!(arrivals(&mut emulator, NOW + ms(5)), [2]);
    assert_eq!(emulator.deadline(), Some(NOW + ms(20)));
}

#[test]
fn a_lost_datagram_overtakes_nothing() {
    let mut emulator = with("reorder=100%");
    emulator.send(NOW, addr(9), &[1]);
    emulator.execute(&"loss=100%".parse().unwrap()).unwrap();
    emulator.send(NOW, addr(9), &[2]);
    assert_eq!(emulator.deadline(), Some(NOW + REORDER_WAITS));
}

#[test]
fn beyond_the_limit_of_held_datagrams_further_ones_leave_at_once() {
    let mut late = with("delay=1s,reorder=100%");
    for _ in 0..=HELD {
        late.send(NOW, addr(9), &[1]);
    }
    assert_eq!(late.held.len(), HELD + 1);
    assert_eq!(arrivals(&mut late, NOW), [1]);
    assert_eq!(late.held.len(), HELD);
}

#[test]
fn the_number_of_addresses_with_faults_is_limited() {
    let mut many = with("loss=1%");
    let command =
        |n: usize| format!("to=127.0.0.{}:{},drop=1", n / 256 + 1, 1024 + n % 256).parse::<FaultCommand>().unwrap();
    for n in 0..ADDRESSES {
        assert_eq!(many.execute(&command(n)), Ok(()));
    }
    assert_eq!(many.execute(&command(0)), Ok(()));
    let sentence = "At most 4096 addresses can have faults of their own; heal undoes all of them.";
    assert_eq!(many.execute(&command(ADDRESSES)), Err(sentence.to_owned()));
    assert_eq!(many.execute(&FaultCommand { heal: true, ..command(ADDRESSES) }), Ok(()));
    assert_eq!(many.faults.len(), 1);
}

#[test]
fn the_number_of_remembered_paths_is_limited() {
    let mut emulator = on(LinkModel { loss: 1.0, burst: 1.0, ..LinkModel::TRANSPARENT });
    for path in 0..=u32::try_from(PATHS).unwrap() {
        emulator.send(NOW, path, &[0]);
    }
    assert_eq!(emulator.memory.len(), PATHS);
    emulator.set_link(LinkModel::TRANSPARENT);
    for path in 0..=u32::try_from(PATHS).unwrap() {
        emulator.send(NOW, path, &[0]);
    }
    arrivals(&mut emulator, NOW);
    assert_at_rest(&emulator);
}
