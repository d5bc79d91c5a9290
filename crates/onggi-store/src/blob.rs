//! Reading what is there.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use onggi_oci::{Algorithm, Descriptor, Digest, Manifest, VerifiedReader, Verifier, VerifyError};
use onggi_sys::Errno;
use onggi_sys::file::{self, FileType, Mode, OFlags};

use crate::error::Doing;
use crate::store::blob_dir;
use crate::{Store, StoreError};

/// An open blob. It was verified when it entered the store, and is not again unless read by [`Blob::verified`].
#[derive(Debug)]
pub struct Blob {
    file: File,
    digest: Digest,
    size: u64,
}

impl Blob {
    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its name.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// A reader that answers the end only if the content is what the name says: disks rot.
    pub fn verified(self) -> VerifiedReader<File> {
        let verifier = Verifier::new(self.digest, Some(self.size));
        VerifiedReader::new(self.file, verifier)
    }

    /// The open file, at its beginning.
    pub fn into_file(self) -> File {
        self.file
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl AsFd for Blob {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Store {
    /// Whether the blob is there now. Whoever needs it to stay asks [`crate::Lease::keep`].
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn has(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.size_of(digest).map(|size| size.is_some())
    }

    /// Whether what `descriptor` describes is there. A blob that rotted is not: it is to be had anew.
    ///
    /// # Errors
    /// [`StoreError::Verify`] if a sound blob of that name has another size than `descriptor` says.
    pub(crate) fn has_described(&self, descriptor: &Descriptor) -> Result<bool, StoreError> {
        match self.open_described(descriptor) {
            Ok(_) => Ok(true),
            Err(StoreError::NoBlob { .. }) => Ok(false),
            Err(StoreError::Verify(wrong)) => {
                let mut blob = self.open_blob(&descriptor.digest)?.verified();
                if io::copy(&mut blob, &mut io::sink()).is_ok() { Err(wrong.into()) } else { Ok(false) }
            }
            Err(other) => Err(other),
        }
    }

    /// The length of a blob; `None` if it is not there.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn size_of(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        match file::stat_at(self, blob_path(digest)) {
            Ok(stat) if file::type_of(&stat) == FileType::RegularFile => {
                Ok(Some(u64::try_from(stat.st_size).unwrap_or(0)))
            }
            Ok(_) => Ok(None),
            Err(error) if error.is(Errno::NOENT) => Ok(None),
            Err(error) => Err(error).doing(|| format!("look for blob {digest}")),
        }
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// [`StoreError::NoBlob`].
    pub fn open_blob(&self, digest: &Digest) -> Result<Blob, StoreError> {
        let opened: OwnedFd =
            match file::open(self, blob_path(digest), OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty()) {
                Err(error) if error.is(Errno::NOENT) => return Err(StoreError::NoBlob { digest: digest.clone() }),
                other => other.doing(|| format!("open blob {digest}"))?,
            };
        let stat = file::stat(&opened).doing(|| format!("open blob {digest}"))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(Blob { file: File::from(opened), digest: digest.clone(), size })
    }

    /// Opens what `descriptor` describes; its size must be the one described.
    ///
    /// # Errors
    /// [`StoreError::NoBlob`]; [`StoreError::Verify`] if the size differs.
    pub fn open_described(&self, descriptor: &Descriptor) -> Result<Blob, StoreError> {
        let blob = self.open_blob(&descriptor.digest)?;
        let (digest, size, got) = (descriptor.digest.clone(), descriptor.size, blob.size);
        match got.cmp(&size) {
            std::cmp::Ordering::Less => Err(VerifyError::TooShort { digest, size, got }.into()),
            std::cmp::Ordering::Greater => Err(VerifyError::TooLong { digest, size }.into()),
            std::cmp::Ordering::Equal => Ok(blob),
        }
    }

    /// Reads a document of at most `limit` bytes, and verifies it again.
    ///
    /// # Errors
    /// [`StoreError::NoBlob`], [`StoreError::TooLarge`], [`StoreError::Verify`].
    pub fn read_blob(&self, digest: &Digest, limit: usize) -> Result<Vec<u8>, StoreError> {
        let blob = self.open_blob(digest)?;
        if blob.size > u64::try_from(limit).unwrap_or(u64::MAX) {
            return Err(StoreError::TooLarge { digest: digest.clone(), size: blob.size, limit });
        }
        let bytes = file::read_all(&blob, limit).doing(|| format!("read blob {digest}"))?;
        let mut verifier = Verifier::new(digest.clone(), Some(blob.size));
        verifier.update(&bytes)?;
        verifier.finish()?;
        Ok(bytes)
    }

    /// Reads the manifest or index that `descriptor` describes.
    ///
    /// # Errors
    /// As [`Store::read_blob`]; [`StoreError::Manifest`] if it is none, or another than described.
    pub fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, StoreError> {
        let bytes = self.read_blob(&descriptor.digest, onggi_oci::MANIFEST_LIMIT)?;
        Manifest::parse(Some(&descriptor.media_type), &bytes)
            .map_err(|source| StoreError::Manifest { digest: descriptor.digest.clone(), source })
    }

    /// All blobs and their lengths, in no order. Files that are not named as a blob is are left out.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn blobs(&self) -> Result<Vec<(Digest, u64)>, StoreError> {
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            let dir = match self.root().dir(blob_dir(algorithm)) {
                Err(error) if error.is(Errno::NOENT) => continue,
                other => other.doing(|| "list the blobs".into())?,
            };
            for entry in file::entries(&dir).doing(|| "list the blobs".into())? {
                let name = entry.name.to_str().unwrap_or_default();
                let Ok(digest) = Digest::from_hex(algorithm, name) else { continue };
                if let Some(size) = self.size_of(&digest)? {
                    found.push((digest, size));
                }
            }
        }
        Ok(found)
    }
}

pub(crate) fn blob_path(digest: &Digest) -> PathBuf {
    PathBuf::from(format!("{}/{}", blob_dir(digest.algorithm()), digest.hex()))
}
