//! The part of a sink's queue that is on disk.
//!
//! A first-in, first-out queue of signals in a folder of its own, bounded in bytes. It outlives the
//! program, also one that is killed: what was appended is there at the next start. (After a power
//! failure the last seconds may be missing: appending does not wait for the disk.) A file that can't be
//! read is skipped; how many signals it held is known and counted.

mod folder;
mod record;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use telemetry_core::{Chunk, Signal, SpoolOptions};

use self::folder::{Lock, Segment, segment_path, survey, write_cursor};
use self::record::{HEADER, Header, MAGIC};

/// Why a spool can't be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// Another process, or another sink, uses it.
    #[error("the spool `{}` is in use{holder}; give every sink and process a folder of its own", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The process, where it is known.
        holder: String,
    },
    /// A later version of this program wrote it.
    #[error("`{}` was written by a later version; deliver it with that version, or move it away", path.display())]
    Version {
        /// The file.
        path: PathBuf,
    },
    /// The file system says no.
    #[error("can't {doing} `{}`", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Why signals were not appended. Nothing of them was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// The bound in bytes is reached.
    #[error("the spool is full")]
    Full,
    /// The file system says no.
    #[error("can't write to the spool")]
    Io(#[from] io::Error),
}

/// What was read at the head.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) chunks: Vec<Arc<Chunk>>,
    pub(crate) signals: usize,
    /// Signals before these that could not be read.
    pub(crate) lost: u64,
}

/// An open spool.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    max_bytes: u64,
    segment_bytes: u64,
    /// Oldest first. The last one is appended to.
    segments: VecDeque<Segment>,
    writer: Option<File>,
    reader: Option<Reader>,
    cursor: File,
    /// Number of the next signal to deliver.
    head: u64,
    /// Number of the next signal to read: `head`, plus what is being delivered.
    next: u64,
    /// Number of the next signal to append.
    tail: u64,
    buffer: Vec<u8>,
    _lock: Lock,
}

/// Where reading is.
#[derive(Debug)]
struct Reader {
    segment: u64,
    file: BufReader<File>,
}

/// What is found where the next record should begin.
enum Next {
    Record(Vec<Signal>),
    /// So many signals can't be read.
    Gap(u64),
}

/// A record's payload ends beyond this size, so that little has to be read at once.
const PAYLOAD: u64 = 1 << 20;
/// The largest segment. Disk space is given back by segments.
const SEGMENT: u64 = 8 << 20;
/// Memory that the encoding buffer keeps between appends.
const KEPT_BUFFER: usize = 4 << 20;

impl Spool {
    /// Opens the folder's spool, or begins one. With it comes the number of signals lost in what could
    /// not be read.
    pub(crate) fn open(options: &SpoolOptions) -> Result<(Self, u64), SpoolError> {
        let folder = options.path.clone();
        fs::create_dir_all(&folder).map_err(|source| SpoolError::Io {
            doing: "create",
            path: folder.clone(),
            source,
        })?;
        let lock = Lock::take(&folder)?;
        let found = survey(&folder)?;
        let tail = found.segments.last().map_or(found.head.unwrap_or(0), |segment| segment.end);
        let first = found.segments.first().map_or(tail, |segment| segment.first);
        // Without a cursor, everything that is there.
        let head = found.head.unwrap_or(first).max(first);
        let removed = found.head.map_or(0, |head| first.saturating_sub(head));
        let mut spool = Self {
            folder,
            max_bytes: options.max_bytes,
            segment_bytes: (options.max_bytes / 8).clamp(4 << 10, SEGMENT),
            segments: found.segments.into(),
            writer: None,
            reader: None,
            cursor: found.cursor,
            head,
            next: head,
            tail: tail.max(head),
            buffer: Vec::new(),
            _lock: lock,
        };
        spool.remove_delivered();
        Ok((spool, found.lost + removed))
    }

    /// Signals that wait in it, those being delivered included.
    pub(crate) const fn len(&self) -> u64 {
        self.tail - self.head
    }

    /// Whether nothing is left to read.
    pub(crate) const fn is_read(&self) -> bool {
        self.next == self.tail
    }

    /// The number the next signal appended will have.
    pub(crate) const fn tail(&self) -> u64 {
        self.tail
    }

    /// The number of the next signal to read.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// The number of the next signal to deliver.
    pub(crate) const fn head(&self) -> u64 {
        self.head
    }

    /// Appends signals, all or none.
    pub(crate) fn append<'a>(
        &mut self,
        signals: impl Iterator<Item = &'a Signal>,
    ) -> Result<(), AppendError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let payload = usize::try_from(PAYLOAD.min(self.segment_bytes)).unwrap_or(usize::MAX);
        let outcome = match record::encode(signals, self.tail, payload, &mut buffer) {
            Ok(0) => Ok(()),
            Ok(count) => self.write(&buffer, count),
            Err(error) => Err(AppendError::Io(error.into())),
        };
        buffer.shrink_to(KEPT_BUFFER);
        self.buffer = buffer;
        outcome
    }

    fn write(&mut self, records: &[u8], signals: u64) -> Result<(), AppendError> {
        let length = records.len() as u64;
        let on_disk: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        if on_disk + length + MAGIC.len() as u64 > self.max_bytes {
            return Err(AppendError::Full);
        }
        let is_full = |segment: &Segment| {
            segment.bytes == 0
                || segment.bytes > MAGIC.len() as u64 && segment.bytes + length > self.segment_bytes
        };
        if self.segments.back().is_none_or(is_full) {
            self.begin_segment()?;
        }
        let Some(segment) = self.segments.back_mut() else { return Err(AppendError::Full) };
        let path = segment_path(&self.folder, segment.first);
        let written = match &mut self.writer {
            Some(file) => file.write_all(records),
            None => {
                let mut file = OpenOptions::new().append(true).open(&path)?;
                // What an earlier failure may have left behind the last record.
                file.set_len(segment.bytes)?;
                let written = file.write_all(records);
                self.writer = Some(file);
                written
            }
        };
        if let Err(error) = written {
            // Half a record would hide what comes after it.
            let restored = self.writer.as_ref().map(|file| file.set_len(segment.bytes));
            if restored.is_some_and(|restored| restored.is_err()) {
                self.begin_segment()?;
            }
            return Err(error.into());
        }
        segment.bytes += length;
        segment.end += signals;
        self.tail += signals;
        Ok(())
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        self.writer = None;
        if self.segments.back().is_some_and(|segment| segment.first == self.tail) {
            // It is empty: the same name, anew.
            self.segments.pop_back();
        }
        let path = segment_path(&self.folder, self.tail);
        let _ = fs::remove_file(&path);
        let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
        file.write_all(&MAGIC)?;
        self.writer = Some(file);
        let bytes = MAGIC.len() as u64;
        self.segments.push_back(Segment { first: self.tail, end: self.tail, bytes });
        Ok(())
    }

    /// Reads on where the last read ended, at least so many signals if there are, in whole records.
    /// What can't be read is skipped and comes as `lost`, always before the signals.
    pub(crate) fn read(&mut self, at_least: usize) -> Taken {
        let mut taken = Taken::default();
        while taken.signals < at_least && self.next < self.tail {
            match self.read_record() {
                Next::Record(signals) => {
                    self.next += signals.len() as u64;
                    taken.signals += signals.len();
                    taken.chunks.push(Arc::new(Chunk::new(signals)));
                }
                Next::Gap(signals) if taken.chunks.is_empty() => {
                    self.next += signals;
                    taken.lost += signals;
                    self.settle(self.next);
                }
                Next::Gap(_) => {
                    // Looked at again once what precedes it is delivered.
                    self.reader = None;
                    break;
                }
            }
        }
        taken
    }

    /// What begins at `next`.
    fn read_record(&mut self) -> Next {
        let Some(&segment) = self.segments.iter().find(|segment| self.next < segment.end) else {
            return Next::Gap(self.tail - self.next);
        };
        if self.next < segment.first {
            return Next::Gap(segment.first - self.next);
        }
        self.read_in(segment).unwrap_or_else(|error| {
            let path = segment_path(&self.folder, segment.first);
            let lost = segment.end - self.next;
            let error = error.to_string();
            tracing::warn!(path = %path.display(), error, lost, "a file of the spool can't be read on; going on behind it");
            self.reader = None;
            Next::Gap(lost)
        })
    }

    fn read_in(&mut self, segment: Segment) -> io::Result<Next> {
        let reader = match &mut self.reader {
            Some(reader) if reader.segment == segment.first => reader,
            other => {
                let mut file = BufReader::new(File::open(segment_path(&self.folder, segment.first))?);
                let mut magic = [0; MAGIC.len()];
                file.read_exact(&mut magic)?;
                if magic != MAGIC {
                    return Err(damaged());
                }
                other.insert(Reader { segment: segment.first, file })
            }
        };
        loop {
            let mut header = [0; HEADER];
            reader.file.read_exact(&mut header)?;
            let header = Header::read(&header).filter(|header| header.record_length() <= segment.bytes);
            let Some(header) = header else { return Err(damaged()) };
            let end = header.first + u64::from(header.signals);
            if end <= self.next {
                // Delivered before the program was started.
                reader.file.seek_relative(i64::from(header.length))?;
                continue;
            }
            let Some(skip) = self.next.checked_sub(header.first) else { return Err(damaged()) };
            let mut payload = vec![0; header.length as usize];
            reader.file.read_exact(&mut payload)?;
            let Some(mut signals) = header.signals(&payload) else {
                let (path, lost) = (segment_path(&self.folder, segment.first), end - self.next);
                tracing::warn!(path = %path.display(), lost, "a record of the spool is damaged; going on behind it");
                return Ok(Next::Gap(lost));
            };
            signals.drain(..usize::try_from(skip).unwrap_or(usize::MAX).min(signals.len()));
            return Ok(Next::Record(signals));
        }
    }

    /// Everything before the signal of this number is delivered, or lost for good.
    pub(crate) fn settle(&mut self, upto: u64) {
        self.head = upto.clamp(self.head, self.tail);
        self.next = self.next.max(self.head);
        if let Err(error) = write_cursor(&self.cursor, self.head) {
            let (path, error) = (self.folder.display(), error.to_string());
            tracing::warn!(%path, error, "can't note what is delivered; after a restart it would be delivered again");
        }
        self.remove_delivered();
    }

    /// Gives back the space of whole segments; the one that is appended to goes once it is empty.
    fn remove_delivered(&mut self) {
        while let Some(segment) = self.segments.front()
            && segment.end <= self.head
            && (self.segments.len() > 1 || self.head == self.tail)
        {
            let path = segment_path(&self.folder, segment.first);
            if self.reader.as_ref().is_some_and(|reader| reader.segment == segment.first) {
                self.reader = None;
            }
            if self.segments.len() == 1 {
                self.writer = None;
            }
            self.segments.pop_front();
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), error = error.to_string(), "can't remove a delivered file of the spool");
            }
        }
    }

    /// Waits until what was appended is on the disk itself.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.writer.as_ref().map_or(Ok(()), File::sync_data)
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is damaged")
}
