//! The folder of a spool: its lock, its segments, and the cursor that shows how far they are delivered.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use telemetry_files::{FileLock, LockError, create_private};
use xxhash_rust::xxh3::xxh3_64;

use super::record::{ANY_VERSION, HEADER, Header, MAGIC};

/// Why a spool can't be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// Another process or another sink uses it.
    #[error("the spool `{}` is in use{holder}; give every sink and process a folder of its own", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The process, if it is known.
        holder: String,
    },
    /// A later version of this program wrote it.
    #[error("`{}` was written by a later version; deliver it with that version, or move it away", path.display())]
    Version {
        /// The file.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("can't {doing} `{}`", path.display())]
    Io {
        /// The operation.
        doing: &'static str,
        /// Its file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// A file of records. Its name is the number of its first signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The number of its first signal.
    pub(super) first: u64,
    /// The number after its last signal.
    pub(super) end: u64,
    /// Bytes of the file.
    pub(super) bytes: u64,
}

/// What an earlier run left in the folder.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) segments: Vec<Segment>,
    /// Signals that were cut off because they can't be read.
    pub(super) unreadable: u64,
    /// The number of the next signal to deliver, if the cursor contains it.
    pub(super) head: Option<u64>,
    pub(super) cursor: File,
}

const SUFFIX: &str = ".spool";

pub(super) fn segment_path(folder: &Path, first: u64) -> PathBuf {
    // Any number has at most twenty digits, so names sort like numbers.
    folder.join(format!("{first:020}{SUFFIX}"))
}

/// Locks the folder for this process. The operating system releases the lock when the process ends.
pub(super) fn lock(folder: &Path) -> Result<FileLock, SpoolError> {
    let path = folder.join("lock");
    FileLock::acquire(&path).map_err(|error| match error {
        LockError::Held { holder } => {
            let holder = holder.map_or_else(String::new, |id| format!(" (process {id})"));
            SpoolError::Locked { path: folder.to_owned(), holder }
        }
        LockError::Io(source) => SpoolError::Io { doing: "lock", path, source },
    })
}

/// Reads the state of a folder. If a killed program left an incomplete record at the end, cuts it off.
pub(super) fn read_folder(folder: &Path) -> Result<Found, SpoolError> {
    let failed = |source| SpoolError::Io { doing: "read", path: folder.to_owned(), source };
    let mut firsts = Vec::new();
    for entry in folder.read_dir().map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        firsts.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    firsts.sort_unstable();
    let mut segments = Vec::new();
    let mut unreadable = 0;
    for (at, &first) in firsts.iter().enumerate() {
        let path = segment_path(folder, first);
        check_version(&path)?;
        let segment = match firsts.get(at + 1) {
            // It ends where the next segment begins.
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
                unreadable = damaged;
                segment
            }
        };
        segments.push(segment);
    }
    let (cursor, head) = open_cursor(folder)?;
    Ok(Found { segments, unreadable, head, cursor })
}

/// Returns an error for a file of a later version, which is not touched. A file whose first bytes are damaged
/// is not of a later version.
fn check_version(path: &Path) -> Result<(), SpoolError> {
    let mut magic = [0; MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read(&mut magic));
    read.map_err(|source| SpoolError::Io { doing: "read", path: path.to_owned(), source })?;
    if magic.starts_with(ANY_VERSION) && magic != MAGIC && magic[ANY_VERSION.len()] > b'1' {
        return Err(SpoolError::Version { path: path.to_owned() });
    }
    Ok(())
}

/// Finds the end of the newest segment, which the next append continues, and cuts off everything after its
/// last record. Returns the segment and the number of signals that were cut off.
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
            // At least one signal was here. The exact number is not known.
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
        tracing::warn!(path = %path.display(), bytes = rest, "the end of the spool is damaged; it is cut off, and its signals count as failed");
    } else if rest > 0 {
        tracing::warn!(path = %path.display(), bytes = rest, "the spool ends with an incomplete record, as after a kill; the record is cut off");
    }
    if rest > 0 {
        file.set_len(segment.bytes)?;
    }
    Ok((segment, damaged))
}

/// Opens the cursor's file. Returns it with the number of the next signal to deliver, if that can be read.
fn open_cursor(folder: &Path) -> Result<(File, Option<u64>), SpoolError> {
    let path = folder.join("cursor");
    let failed = |source| SpoolError::Io { doing: "open", path: path.clone(), source };
    let file = create_private(&path).and_then(|_| OpenOptions::new().read(true).write(true).open(&path));
    let mut file = file.map_err(failed)?;
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(64).read_to_end(&mut bytes).map_err(failed)?;
    let head = match bytes.split_first_chunk::<8>() {
        Some((number, sum)) if sum == xxh3_64(number).to_le_bytes() => Some(u64::from_le_bytes(*number)),
        Some(_) | None => None,
    };
    Ok((file, head))
}

/// Writes the number of the next signal to deliver.
pub(super) fn write_cursor(mut file: &File, head: u64) -> io::Result<()> {
    let number = head.to_le_bytes();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number);
    bytes[8..].copy_from_slice(&xxh3_64(&number).to_le_bytes());
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&bytes)
}
