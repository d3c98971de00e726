//! Queues that continue on disk: everything that fits is delivered, in order.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod destination;

use std::time::Duration;

use telemetry_core::{Event, Severity, Submission, Ttl, attrs};
use telemetry_pipeline::SinkLedger;

use destination::{
    DEADLINE, Destination, Health, counted, files, log, log_from, numbers, sink, start, submit, try_start,
    try_start_as, wait_until,
};

#[test]
fn signals_beyond_the_memory_wait_on_disk_and_arrive_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::new(Health::Down);
    let pipeline = start(&destination, folder.path());
    let telemetry = pipeline.telemetry();
    log(&telemetry, 0..2_000);
    wait_until(&telemetry, |sink| sink.spooled > 1_000);
    assert_eq!(counted(&sink(&telemetry)), (0, 0, 0, 2_000));
    destination.set(Health::Up);
    log(&telemetry, 2_000..2_100);
    assert_eq!(numbers(&destination.wait_for(2_100)), (0..2_100).collect::<Vec<_>>());
    let report = pipeline.shutdown(DEADLINE);
    assert_eq!(counted(&report.ledger.sinks[0]), (2_100, 0, 0, 0));
    assert_eq!(report.ledger.sinks[0].spooled, 0);
    assert!(files(folder.path()).is_empty(), "the disk space is freed");
}

#[test]
fn signals_left_by_a_shutdown_are_delivered_unchanged_by_the_next_run() {
    for health in [Health::Down, Health::Hangs] {
        let folder = tempfile::tempdir().unwrap();
        let destination = Destination::new(health);
        let pipeline = start(&destination, folder.path());
        log(&pipeline.telemetry(), 0..500);
        let before = telemetry_core::Timestamp::now();
        let report = pipeline.shutdown(Duration::from_secs(1));
        assert!(report.abandoned.is_empty(), "{health:?}");
        assert_eq!(counted(&report.ledger.sinks[0]), (0, 0, 0, 500), "{health:?}");
        assert_eq!(report.ledger.sinks[0].spooled, 500);

        destination.set(Health::Up);
        let pipeline = start(&destination, folder.path());
        log(&pipeline.telemetry(), 500..510);
        let logs = destination.wait_for(510);
        assert_eq!(numbers(&logs), (0..510).collect::<Vec<_>>(), "{health:?}");
        for (number, log) in logs[..500].iter().enumerate() {
            assert_eq!(log.ttl, Ttl::from_seconds(number as u64 + 1).unwrap());
            assert_eq!(log.attributes, attrs! { "n" => 7.0 });
            assert!(log.arrived < before, "the first run's time of arrival is kept");
        }
        assert_eq!(counted(&pipeline.shutdown(DEADLINE).ledger.sinks[0]), (510, 0, 0, 0));
    }
}

#[test]
fn stored_signals_of_a_batch_are_not_delivered_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::new(Health::TakesOne);
    let pipeline = start(&destination, folder.path());
    log(&pipeline.telemetry(), 0..10);
    destination.wait_for(1);
    let report = pipeline.shutdown(Duration::from_secs(1));
    let (delivered, _, _, pending) = counted(&report.ledger.sinks[0]);
    assert_eq!(delivered + pending, 10);
    destination.set(Health::Up);
    let pipeline = start(&destination, folder.path());
    assert_eq!(numbers(&destination.wait_for(10)), (0..10).collect::<Vec<_>>());
    drop(pipeline);
}

#[test]
fn signals_on_disk_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::new(Health::Down);
    let pipeline = start(&destination, folder.path());
    let telemetry = pipeline.telemetry();
    log(&telemetry, 0..1_500);
    wait_until(&telemetry, |sink| sink.spooled > 500);
    let on_disk = usize::try_from(sink(&telemetry).spooled).unwrap();
    // A kill would leave the files as they are now, perhaps with an incomplete last record.
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("spooled")).unwrap();
    for file in files(folder.path()) {
        std::fs::copy(&file, copy.path().join("spooled").join(file.file_name().unwrap())).unwrap();
    }
    let last = files(copy.path()).pop().unwrap();
    let mut bytes = std::fs::read(&last).unwrap();
    bytes.extend_from_within(8..48);
    std::fs::write(&last, bytes).unwrap();

    let successor = Destination::new(Health::Up);
    let after = start(&successor, copy.path());
    let logs = successor.wait_for(on_disk);
    assert_eq!(numbers(&logs), (0..logs.len()).collect::<Vec<_>>());
    drop((pipeline, after));
}

#[test]
fn the_newest_signals_beyond_the_bound_are_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::new(Health::Down);
    let pipeline = try_start(&destination, folder.path(), "64KiB").unwrap();
    let telemetry = pipeline.telemetry();
    log(&telemetry, 0..900);
    for number in 900..3_000 {
        telemetry.log_event(Event::log(Severity::Info, number.to_string()));
    }
    wait_until(&telemetry, |sink| sink.accepted == 3_000 && sink.dropped > 0);
    let size: u64 = files(folder.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(size <= 64 << 10, "{size}");
    destination.set(Health::Up);
    let report = pipeline.shutdown(DEADLINE);
    let ledger = &report.ledger.sinks[0];
    let (delivered, failed, dropped, pending) = counted(ledger);
    assert_eq!((failed, pending, ledger.reasons["spool full"]), (0, 0, dropped));
    let arrived = numbers(&destination.wait_for(usize::try_from(delivered).unwrap()));
    assert!(arrived.is_sorted(), "the rest is in order");
    assert_eq!(arrived[0], 0, "the oldest is kept");
}

#[test]
fn a_damaged_file_is_counted_and_the_rest_is_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::new(Health::Down);
    let pipeline = try_start(&destination, folder.path(), "256KiB").unwrap();
    log(&pipeline.telemetry(), 0..500);
    pipeline.shutdown(Duration::from_secs(1));
    let first = files(folder.path()).remove(0);
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&first, bytes).unwrap();

    destination.set(Health::Up);
    let pipeline = try_start(&destination, folder.path(), "256KiB").unwrap();
    wait_until(&pipeline.telemetry(), |sink| sink.pending == 0);
    let report = pipeline.shutdown(DEADLINE);
    let (delivered, failed, dropped, pending) = counted(&report.ledger.sinks[0]);
    assert_eq!((delivered + failed, dropped, pending), (500, 0, 0));
    assert!(failed > 0 && delivered > 0, "{delivered} and {failed}");
    assert_eq!(report.ledger.sinks[0].reasons["spool unreadable"], failed);
}

#[test]
fn two_pipelines_on_one_spool_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::new(Health::Up);
    let first = start(&destination, folder.path());
    let error = try_start(&destination, folder.path(), "64MiB").unwrap_err();
    let path = folder.path().join("spooled");
    let expected = format!(
        "sink `spooled`: can't use the sink's spool: the spool `{}` is in use (process {}); \
         give every sink and process a folder of its own",
        path.display(),
        std::process::id()
    );
    assert_eq!(error, expected);
    drop(first);
    start(&destination, folder.path());
}

#[test]
fn a_spool_that_cannot_be_created_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("spooled"), "a file").unwrap();
    let destination = Destination::new(Health::Up);
    let error = try_start(&destination, folder.path(), "64MiB").unwrap_err();
    assert!(error.contains("can't create `"), "{error}");
}

#[test]
fn a_flush_waits_for_signals_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::new(Health::Down);
    let pipeline = start(&destination, folder.path());
    let telemetry = pipeline.telemetry();
    log(&telemetry, 0..1_500);
    wait_until(&telemetry, |sink| sink.spooled > 500);
    assert!(!block_on(telemetry.flush(Duration::from_millis(50))).is_complete());
    destination.set(Health::Up);
    assert!(block_on(telemetry.flush(DEADLINE)).is_complete());
    assert_eq!(destination.wait_for(1_500).len(), 1_500);
}

#[test]
fn a_sink_that_ends_leaves_its_spool_for_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::new(Health::Down);
    let pipeline = start(&destination, folder.path());
    let telemetry = pipeline.telemetry();
    log(&telemetry, 0..1_500);
    wait_until(&telemetry, |sink| sink.spooled > 500);
    destination.set(Health::Gone);
    wait_until(&telemetry, |sink| sink.failed > 0);
    let report = pipeline.shutdown(DEADLINE);
    let (delivered, failed, dropped, pending) = counted(&report.ledger.sinks[0]);
    assert_eq!((delivered, report.ledger.sinks[0].spooled), (0, pending));
    assert!(pending > 500, "{failed} failed, {dropped} dropped");
    destination.set(Health::Up);
    let pipeline = start(&destination, folder.path());
    assert_eq!(destination.wait_for(usize::try_from(pending).unwrap()).len() as u64, pending);
    drop(pipeline);
}

#[test]
fn a_receipt_waits_until_the_store_has_the_signals_from_disk() {
    for recovers in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let store = Destination::new(Health::Down);
        let pipeline = try_start_as(&store, folder.path(), "64MiB", true).unwrap();
        let telemetry = pipeline.telemetry();
        let logged = Event::log(Severity::Info, "0").with_attributes(attrs! { "n" => 7.0 });
        let receipt = submit(&telemetry, logged.clone(), Ttl::default());
        for number in 1..2_000_u64 {
            telemetry.log_event(logged.clone());
            if number % 20 == 19 {
                let in_memory = |sink: &SinkLedger| sink.pending - sink.spooled.min(sink.pending);
                wait_until(&telemetry, |sink| sink.accepted > number && in_memory(sink) < 700);
            }
        }
        wait_until(&telemetry, |sink| sink.accepted == 2_000 && sink.spooled > 1_000);
        if recovers {
            store.set(Health::Up);
            assert_eq!(receipt.wait(DEADLINE), Ok(()));
            assert_eq!(store.wait_for(2_000).len(), 2_000);
        } else {
            let report = pipeline.shutdown(Duration::from_millis(500));
            assert_eq!(report.ledger.sinks[0].spooled, 2_000, "they are stored later");
            assert!(receipt.wait(DEADLINE).is_err(), "they are not stored yet");
        }
    }
}

#[test]
fn a_submission_on_disk_is_acknowledged_only_if_all_its_batches_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let store = Destination::new(Health::Down);
    let pipeline = try_start_as(&store, folder.path(), "4MiB", true).unwrap();
    let telemetry = pipeline.telemetry();
    let events = |messages: std::ops::Range<usize>| -> Vec<Submission> {
        let attributes = attrs! { "long" => "x".repeat(10_000) };
        let event = |number: usize| {
            Event::log(Severity::Info, number.to_string()).with_attributes(attributes.clone())
        };
        messages.map(|number| Submission::Event { event: event(number), ttl: Ttl::default() }).collect()
    };
    let under_way = telemetry.submit(events(0..1)).unwrap();
    wait_until(&telemetry, |sink| sink.retries > 0);
    // It is so large that it becomes several records on disk, and so several batches.
    let rejected = telemetry.submit(events(1..201)).unwrap();
    wait_until(&telemetry, |sink| sink.spooled == 201);
    store.set(Health::Rejects("1"));
    assert!(rejected.wait(DEADLINE).is_err());
    assert_eq!(under_way.wait(DEADLINE), Ok(()));
    wait_until(&telemetry, |sink| sink.pending == 0);
    assert!(sink(&telemetry).failed < 200, "its last batch was stored");
}

#[test]
fn all_signals_arrive_once_and_in_order_with_an_unreliable_destination() {
    const RUNS: usize = 4;
    const LOGS: usize = 600;
    for seed in 0..4_u64 {
        let folder = tempfile::tempdir().unwrap();
        let destination = Destination::new(Health::Up);
        let mut random = seed;
        let mut health = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            [Health::Up, Health::Down, Health::TakesHalf, Health::Down][(random >> 33) as usize % 4]
        };
        for run in 0..RUNS {
            let pipeline = start(&destination, folder.path());
            for part in 0..6 {
                destination.set(health());
                let first = run * LOGS + part * 100;
                log_from(&pipeline.telemetry(), run * LOGS, first..first + 100);
            }
            // A fifth of this is left for syncing the spool, which takes long on a busy disk.
            let report = pipeline.shutdown(Duration::from_secs(1));
            assert_eq!(report.abandoned, [""; 0], "seed {seed} run {run}");
            let (_, failed, dropped, pending) = counted(&report.ledger.sinks[0]);
            assert_eq!(
                (failed, dropped, report.ledger.sinks[0].spooled),
                (0, 0, pending),
                "seed {seed} run {run}"
            );
        }
        destination.set(Health::Up);
        let pipeline = start(&destination, folder.path());
        let arrived = numbers(&destination.wait_for(RUNS * LOGS));
        assert_eq!(arrived, (0..RUNS * LOGS).collect::<Vec<_>>(), "seed {seed}");
        drop(pipeline);
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
