use std::path::Path;

use super::*;
use telemetry_core::{EventContext, LogBody, LogRecord, Severity, Timestamp, Ttl};

fn log(number: usize) -> Signal {
    Signal::Log(Arc::new(LogRecord {
        context: EventContext::None,
        timestamp: Timestamp::from_nanos(0),
        body: LogBody::Message { severity: Severity::Info, message: number.to_string().into() },
        attributes: telemetry_core::Attributes::default(),
        service_name: None,
        arrived: Timestamp::from_nanos(7),
        ttl: Ttl::default(),
    }))
}

fn logs(numbers: std::ops::Range<usize>) -> Vec<Signal> {
    numbers.map(log).collect()
}

fn options(folder: &tempfile::TempDir, max_bytes: u64) -> SpoolOptions {
    SpoolOptions { path: folder.path().join("spool"), max_bytes }
}

fn open(folder: &tempfile::TempDir) -> (Spool, u64) {
    Spool::open(&options(folder, 1 << 20)).unwrap()
}

/// Reads all signals, and counts those that can't be read.
fn read_all(spool: &mut Spool) -> (Vec<Signal>, u64) {
    let (mut signals, mut unreadable) = (Vec::new(), 0);
    while !spool.is_read() {
        let read = spool.read(1);
        unreadable += read.unreadable;
        for chunk in &read.chunks {
            signals.extend(chunk.signals().iter().cloned());
        }
        spool.settle(spool.next);
    }
    (signals, unreadable)
}

fn segment_files(folder: &tempfile::TempDir) -> Vec<PathBuf> {
    let entries = folder.path().join("spool").read_dir().unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|suffix| suffix == "spool")).collect();
    files.sort();
    files
}

#[test]
fn signals_are_read_in_order_and_their_space_is_freed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&folder);
    spool.append(logs(0..100).iter()).unwrap();
    spool.append(logs(100..200).iter()).unwrap();
    assert_eq!(read_all(&mut spool), (logs(0..200), 0));
    assert!(segment_files(&folder).is_empty());
    spool.append(logs(200..300).iter()).unwrap();
    assert_eq!(read_all(&mut spool), (logs(200..300), 0));
}

#[test]
fn signals_that_are_not_settled_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&folder);
    spool.append(logs(0..10).iter()).unwrap();
    spool.append(logs(10..20).iter()).unwrap();
    spool.read(1);
    spool.settle(5);
    drop(spool);
    let (mut spool, unreadable) = open(&folder);
    assert_eq!((spool.len(), unreadable), (15, 0));
    assert_eq!(read_all(&mut spool), (logs(5..20), 0));
    drop(spool);
    let (spool, unreadable) = open(&folder);
    assert_eq!((spool.len(), spool.tail(), unreadable), (0, 20, 0));
}

#[test]
fn the_bound_in_bytes_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(&options(&folder, 64 << 10)).unwrap();
    let mut appended = 0;
    while spool.append(logs(appended..appended + 10).iter()).is_ok() {
        appended += 10;
    }
    let size: u64 = segment_files(&folder).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(size <= 64 << 10 && size > 48 << 10, "{size}");
    assert!(matches!(spool.append(logs(0..10).iter()), Err(AppendError::Full)));
    // There is room again once signals are delivered.
    spool.read(appended / 2);
    spool.settle(spool.next);
    spool.append(logs(appended..appended + 10).iter()).unwrap();
    assert_eq!(read_all(&mut spool).1, 0);
}

#[test]
fn an_incomplete_last_record_is_cut_off_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&folder);
    spool.append(logs(0..3).iter()).unwrap();
    drop(spool);
    let path = segment_files(&folder).remove(0);
    let whole = fs::read(&path).unwrap();
    let (mut spool, _) = open(&folder);
    spool.append(logs(3..6).iter()).unwrap();
    drop(spool);
    let both = fs::read(&path).unwrap();
    for cut in [whole.len() + 1, whole.len() + HEADER, whole.len() + HEADER + 1, both.len() - 1] {
        fs::write(&path, &both[..cut]).unwrap();
        let (mut spool, unreadable) = open(&folder);
        assert_eq!((spool.len(), unreadable), (3, 0), "cut at {cut}");
        spool.append(logs(6..7).iter()).unwrap();
        let mut expected = logs(0..3);
        expected.extend(logs(6..7));
        assert_eq!(read_all(&mut spool), (expected, 0), "cut at {cut}");
        drop(spool);
        fs::remove_file(folder.path().join("spool/cursor")).unwrap();
    }
    // The magic number is incomplete too.
    fs::write(&path, &whole[..3]).unwrap();
    assert_eq!(open(&folder).0.len(), 0);
}

#[test]
fn a_damaged_payload_is_skipped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&folder);
    for number in 0..3 {
        spool.append(logs(number * 10..number * 10 + 10).iter()).unwrap();
    }
    let path = segment_files(&folder).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (signals, unreadable) = read_all(&mut spool);
    let mut expected = logs(0..10);
    expected.extend(logs(20..30));
    assert_eq!((signals, unreadable), (expected, 10));
}

#[test]
fn the_rest_of_a_file_after_a_damaged_header_is_skipped_and_counted() {
    for at in [0, MAGIC.len() + 8] {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(&options(&folder, 32 << 10)).unwrap();
        for number in 0..10 {
            spool.append(logs(number * 10..number * 10 + 10).iter()).unwrap();
        }
        drop(spool);
        let files = segment_files(&folder);
        assert!(files.len() > 2, "{files:?}");
        let mut bytes = fs::read(&files[0]).unwrap();
        bytes[at] ^= 0x80;
        fs::write(&files[0], bytes).unwrap();
        let (mut spool, unreadable) = Spool::open(&options(&folder, 32 << 10)).unwrap();
        assert_eq!((spool.len(), unreadable), (100, 0));
        let (signals, unreadable) = read_all(&mut spool);
        let in_first_file = files[1].file_stem().unwrap().to_str().unwrap().parse::<usize>().unwrap();
        assert_eq!((signals, unreadable), (logs(in_first_file..100), in_first_file as u64));
    }
}

#[test]
fn removed_files_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(&options(&folder, 32 << 10)).unwrap();
    for number in 0..10 {
        spool.append(logs(number * 10..number * 10 + 10).iter()).unwrap();
    }
    spool.settle(0);
    drop(spool);
    let files = segment_files(&folder);
    let starts_at = |path: &Path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    fs::remove_file(&files[0]).unwrap();
    let (spool, unreadable) = Spool::open(&options(&folder, 32 << 10)).unwrap();
    assert_eq!((spool.head(), unreadable), (starts_at(&files[1]), starts_at(&files[1])));
}

#[test]
fn a_second_owner_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(&folder);
    let error = Spool::open(&options(&folder, 1 << 20)).unwrap_err().to_string();
    assert!(error.contains(&format!("is in use (process {})", std::process::id())), "{error}");
    drop(first);
    open(&folder);
}

#[test]
fn a_spool_of_a_later_version_is_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&folder);
    spool.append(logs(0..1).iter()).unwrap();
    drop(spool);
    let path = segment_files(&folder).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[6] = b'2';
    fs::write(&path, &bytes).unwrap();
    let error = Spool::open(&options(&folder, 1 << 20)).unwrap_err();
    assert!(matches!(error, SpoolError::Version { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
#[cfg(unix)]
fn only_the_owner_can_read_what_a_spool_creates() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&folder);
    spool.append(logs(0..3).iter()).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let spool_folder = folder.path().join("spool");
    assert_eq!(mode(&spool_folder), 0o700);
    let files: Vec<PathBuf> = spool_folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 3, "lock, cursor and segment: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}
