//! The folder of a spool: its lock, its segments, and how far they are delivered.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use crate::spool::SpoolError;
use crate::spool::record::{ANY_VERSION, HEADER, Header, MAGIC};

/// A file of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The number of its first signal; its name.
    pub(super) first: u64,
    /// The number after its last signal.
    pub(super) end: u64,
    /// Bytes of the file.
    pub(super) bytes: u64,
}

/// What is in the folder of an earlier run.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) segments: Vec<Segment>,
    /// Signals known to have been in what is unreadable at the end.
    pub(super) lost: u64,
    /// The number of the next signal to deliver, where the cursor says it.
    pub(super) head: Option<u64>,
    pub(super) cursor: File,
}

/// One owner per spool; released when dropped, also by the operating system when the program dies.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

const SUFFIX: &str = ".spool";

pub(super) fn segment_path(folder: &Path, first: u64) -> PathBuf {
    // Twenty digits hold any number, so that names sort as numbers do.
    folder.join(format!("{first:020}{SUFFIX}"))
}

impl Lock {
    pub(super) fn take(folder: &Path) -> Result<Self, SpoolError> {
        let path = folder.join("lock");
        let failed = |source| SpoolError::Io { doing: "lock", path: path.clone(), source };
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                // For people only: which process it is.
                let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                Ok(Self(file))
            }
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                let _ = file.read_to_string(&mut process);
                let holder = process.trim().parse::<u32>().map(|id| format!(" (process {id})"));
                Err(SpoolError::Locked { path: folder.to_owned(), holder: holder.unwrap_or_default() })
            }
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

/// Takes stock of a folder. What a killed program left half-written at the end is cut off.
pub(super) fn survey(folder: &Path) -> Result<Found, SpoolError> {
    let failed = |source| SpoolError::Io { doing: "read", path: folder.to_owned(), source };
    let mut firsts = Vec::new();
    for entry in folder.read_dir().map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        firsts.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    firsts.sort_unstable();
    let mut segments = Vec::new();
    let mut lost = 0;
    for (at, &first) in firsts.iter().enumerate() {
        let path = segment_path(folder, first);
        check_version(&path)?;
        let segment = match firsts.get(at + 1) {
            // Its end is known without reading it.
            Some(&end) => {
                let bytes = path.metadata().map_err(failed)?.len();
                Segment { first, end, bytes }
            }
            None => {
                let (segment, damaged) = last_segment(&path, first).map_err(|source| SpoolError::Io {
                    doing: "read",
                    path: path.clone(),
                    source,
                })?;
                lost = damaged;
                segment
            }
        };
        segments.push(segment);
    }
    let (cursor, head) = open_cursor(folder)?;
    Ok(Found { segments, lost, head, cursor })
}

/// A spool of another version is left alone. One whose first bytes are damaged is not of another version.
fn check_version(path: &Path) -> Result<(), SpoolError> {
    let mut magic = [0; MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read(&mut magic));
    read.map_err(|source| SpoolError::Io { doing: "read", path: path.to_owned(), source })?;
    if magic.starts_with(ANY_VERSION) && magic != MAGIC && magic[ANY_VERSION.len()] > b'1' {
        return Err(SpoolError::Version { path: path.to_owned() });
    }
    Ok(())
}

/// Finds the end of the newest segment, which the next append would continue, and cuts off what is no record.
fn last_segment(path: &Path, first: u64) -> io::Result<(Segment, u64)> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let mut segment = Segment { first, end: first, bytes: 0 };
    let mut damaged = 0;
    let mut magic = [0; MAGIC.len()];
    if length >= magic.len() as u64 {
        file.read_exact(&mut magic)?;
        if magic == MAGIC {
            segment.bytes = magic.len() as u64;
        } else {
            damaged = 1;
        }
    }
    while segment.bytes > 0 && segment.bytes + HEADER as u64 <= length {
        let mut bytes = [0; HEADER];
        file.seek(SeekFrom::Start(segment.bytes))?;
        file.read_exact(&mut bytes)?;
        let Some(header) = Header::read(&bytes).filter(|header| header.first == segment.end) else {
            // At least one signal was here; how many, nothing says any more.
            damaged = 1;
            break;
        };
        if segment.bytes + header.record_length() > length {
            break;
        }
        segment.bytes += header.record_length();
        segment.end += u64::from(header.signals);
    }
    let rest = length - segment.bytes;
    if damaged > 0 {
        tracing::warn!(path = %path.display(), bytes = rest, "the end of the spool is damaged; it is cut off and counted");
    } else if rest > 0 {
        tracing::warn!(path = %path.display(), bytes = rest, "the spool ends within a record, as after a kill; the rest is kept");
    }
    if rest > 0 {
        file.set_len(segment.bytes)?;
    }
    Ok((segment, damaged))
}

/// The cursor's file, and where it says deliveries go on. An unreadable one says nothing.
fn open_cursor(folder: &Path) -> Result<(File, Option<u64>), SpoolError> {
    let path = folder.join("cursor");
    let failed = |source| SpoolError::Io { doing: "open", path: path.clone(), source };
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = file.map_err(failed)?;
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(64).read_to_end(&mut bytes).map_err(failed)?;
    let head = match bytes.split_first_chunk::<8>() {
        Some((number, sum)) if sum == xxh3_64(number).to_le_bytes() => Some(u64::from_le_bytes(*number)),
        Some(_) | None => None,
    };
    Ok((file, head))
}

/// Writes where deliveries go on.
pub(super) fn write_cursor(mut file: &File, head: u64) -> io::Result<()> {
    let number = head.to_le_bytes();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number);
    bytes[8..].copy_from_slice(&xxh3_64(&number).to_le_bytes());
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&bytes)
}
