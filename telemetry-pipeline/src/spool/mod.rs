//! The part of a sink's queue that is on disk.
//!
//! A spool is a first-in, first-out queue of signals in a folder of its own, bounded in bytes. It survives
//! the end of the program, also by a kill: the next start finds all appended signals. After a power failure
//! the last seconds may be missing, because appending does not wait for the disk. A file that can't be read
//! is skipped, and the number of its signals is known and counted.

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
use telemetry_files::FileLock;
use telemetry_files::{create_private, create_private_folder};

use self::folder::{Segment, SpoolError, lock, read_folder, segment_path, write_cursor};
use self::record::{HEADER, Header, MAGIC};

/// Why signals were not appended. None of them was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// The bound in bytes is reached.
    #[error("the spool is full")]
    Full,
    /// Writing failed.
    #[error("can't write to the spool")]
    Io(#[from] io::Error),
}

/// Signals read from a spool.
#[derive(Debug, Default)]
pub(crate) struct SpoolRead {
    pub(crate) chunks: Vec<Arc<Chunk>>,
    pub(crate) signals: usize,
    /// Signals before these that can't be read.
    pub(crate) unreadable: u64,
}

/// An open spool.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    max_bytes: u64,
    segment_bytes: u64,
    /// Oldest first. New signals are appended to the last one.
    segments: VecDeque<Segment>,
    writer: Option<File>,
    reader: Option<Reader>,
    cursor: File,
    /// Number of the next signal to deliver.
    head: u64,
    /// Number of the next signal to read: `head` plus the signals that are being delivered.
    next: u64,
    /// Number of the next signal to append.
    tail: u64,
    buffer: Vec<u8>,
    _lock: FileLock,
}

/// The segment that is being read.
#[derive(Debug)]
struct Reader {
    segment: u64,
    file: BufReader<File>,
}

/// The result of reading the next record.
enum Next {
    Record(Vec<Signal>),
    /// This many signals can't be read.
    Unreadable(u64),
}

/// A record ends once its payload exceeds this size, so that little has to be read at once.
const PAYLOAD: u64 = 1 << 20;
/// The largest segment. Disk space is freed by whole segments.
const SEGMENT: u64 = 8 << 20;
/// Capacity that the encoding buffer keeps between appends.
const KEPT_BUFFER: usize = 4 << 20;

impl Spool {
    /// Opens the folder's spool, or creates it. Returns it with the number of signals that can't be read.
    pub(crate) fn open(options: &SpoolOptions) -> Result<(Self, u64), SpoolError> {
        let folder = options.path.clone();
        // Signals may contain prompts: only the owner can read what is created here.
        create_private_folder(&folder).map_err(|source| SpoolError::Io {
            doing: "create",
            path: folder.clone(),
            source,
        })?;
        let lock = lock(&folder)?;
        let found = read_folder(&folder)?;
        let tail = found.segments.last().map_or(found.head.unwrap_or(0), |segment| segment.end);
        let first = found.segments.first().map_or(tail, |segment| segment.first);
        // Without a cursor, all signals that are there are delivered.
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
        Ok((spool, found.unreadable + removed))
    }

    /// Returns the number of signals in it, with those that are being delivered.
    pub(crate) const fn len(&self) -> u64 {
        self.tail - self.head
    }

    /// Returns true if nothing is left to read.
    pub(crate) const fn is_read(&self) -> bool {
        self.next == self.tail
    }

    /// Returns the number of the next signal to append.
    pub(crate) const fn tail(&self) -> u64 {
        self.tail
    }

    /// Returns the number of the next signal to read.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// Returns the number of the next signal to deliver.
    pub(crate) const fn head(&self) -> u64 {
        self.head
    }

    /// Appends all of the signals, or none.
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
                // An earlier failure may have left an incomplete record.
                file.set_len(segment.bytes)?;
                let written = file.write_all(records);
                self.writer = Some(file);
                written
            }
        };
        if let Err(error) = written {
            // An incomplete record would make the records after it unreadable.
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
            // It is empty. The new one gets the same name.
            self.segments.pop_back();
        }
        let path = segment_path(&self.folder, self.tail);
        let _ = fs::remove_file(&path);
        create_private(&path)?;
        let mut file = OpenOptions::new().append(true).open(&path)?;
        file.write_all(&MAGIC)?;
        self.writer = Some(file);
        let bytes = MAGIC.len() as u64;
        self.segments.push_back(Segment { first: self.tail, end: self.tail, bytes });
        Ok(())
    }

    /// Continues where the last read ended. Reads whole records, with at least so many signals if there are.
    /// Skips and counts signals before them that can't be read.
    pub(crate) fn read(&mut self, at_least: usize) -> SpoolRead {
        let mut read = SpoolRead::default();
        while read.signals < at_least && self.next < self.tail {
            match self.read_record() {
                Next::Record(signals) => {
                    self.next += signals.len() as u64;
                    read.signals += signals.len();
                    read.chunks.push(Arc::new(Chunk::new(signals)));
                }
                Next::Unreadable(signals) if read.chunks.is_empty() => {
                    self.next += signals;
                    read.unreadable += signals;
                    self.settle(self.next);
                }
                Next::Unreadable(_) => {
                    // The next call skips it, when the signals before it are delivered.
                    self.reader = None;
                    break;
                }
            }
        }
        read
    }

    /// Reads the record that begins at `next`.
    fn read_record(&mut self) -> Next {
        let Some(&segment) = self.segments.iter().find(|segment| self.next < segment.end) else {
            return Next::Unreadable(self.tail - self.next);
        };
        if self.next < segment.first {
            return Next::Unreadable(segment.first - self.next);
        }
        self.read_in(segment).unwrap_or_else(|error| {
            let path = segment_path(&self.folder, segment.first);
            let signals = segment.end - self.next;
            let error = error.to_string();
            tracing::warn!(path = %path.display(), error, signals, "can't read a file of the spool; its signals are skipped and count as failed");
            self.reader = None;
            Next::Unreadable(signals)
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
                // It was delivered by an earlier run.
                reader.file.seek_relative(i64::from(header.length))?;
                continue;
            }
            let Some(skip) = self.next.checked_sub(header.first) else { return Err(damaged()) };
            let mut payload = vec![0; header.length as usize];
            reader.file.read_exact(&mut payload)?;
            let Some(mut signals) = header.signals(&payload) else {
                let (path, signals) = (segment_path(&self.folder, segment.first), end - self.next);
                tracing::warn!(path = %path.display(), signals, "a record of the spool is damaged; its signals are skipped and count as failed");
                return Ok(Next::Unreadable(signals));
            };
            signals.drain(..usize::try_from(skip).unwrap_or(usize::MAX).min(signals.len()));
            return Ok(Next::Record(signals));
        }
    }

    /// Marks all signals before number `end` as settled: delivered, or failed.
    pub(crate) fn settle(&mut self, end: u64) {
        self.head = end.clamp(self.head, self.tail);
        self.next = self.next.max(self.head);
        if let Err(error) = write_cursor(&self.cursor, self.head) {
            let (path, error) = (self.folder.display(), error.to_string());
            tracing::warn!(%path, error, "can't write the cursor of the spool; after a restart, delivered signals would be delivered again");
        }
        self.remove_delivered();
    }

    /// Removes segments that are delivered. The one that is appended to is removed once it is empty.
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
                tracing::warn!(path = %path.display(), error = error.to_string(), "can't remove a delivered file of the spool; it still takes disk space");
            }
        }
    }

    /// Blocks until all appended signals are on the disk itself.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.writer.as_ref().map_or(Ok(()), File::sync_data)
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file is damaged")
}
