//! A file to import: plain or gzip, told by its first bytes, with the fingerprint of what lies on disk.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

pub struct Source {
    path: PathBuf,
    gzip: bool,
}

impl Source {
    pub fn open(path: &Path) -> anyhow::Result<Source> {
        let mut magic = [0; 2];
        let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let length = file.read(&mut magic).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Source { path: path.to_owned(), gzip: length == 2 && magic == [0x1f, 0x8b] })
    }

    /// The text, unpacked.
    pub fn reader(&self) -> anyhow::Result<Box<dyn Read>> {
        let file = BufReader::with_capacity(1 << 16, self.file()?);
        if self.gzip { Ok(Box::new(MultiGzDecoder::new(file))) } else { Ok(Box::new(file)) }
    }

    /// SHA-256 of the file as it lies on the disk, in hex.
    pub fn fingerprint(&self) -> anyhow::Result<String> {
        let mut hash = Sha256::new();
        std::io::copy(&mut self.file()?, &mut hash).with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(data_encoding::HEXLOWER.encode(&hash.finalize()))
    }

    fn file(&self) -> anyhow::Result<File> {
        File::open(&self.path).with_context(|| format!("cannot open {}", self.path.display()))
    }
}
