//! The storage in a folder of this host.
//!
//! Folders are 0700 and files 0600. A value is replaced by writing a file beside it, flushing it to disk
//! and renaming it. Locks are files with owner, number and end, changed under the kernel's lock on one
//! guard file; the kernel lock is held for that change alone, so a crash never leaves it behind.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Later, Lease, Locked, Storage, StorageError};
use crate::clock::Clock;

/// Nothing of ours is nearly as large; what is larger is not read.
const VALUE_MAX: u64 = 4 << 20;

/// How long a lock file that cannot be read counts as held, from when it was written.
const UNREADABLE_HOLD: u64 = 15 * 60;

/// Accounts, certificates and locks in a folder.
#[derive(Clone, Debug)]
pub struct DiskStorage(Arc<Disk>);

#[derive(Debug)]
struct Disk {
    root: PathBuf,
    clock: Clock,
    owner: Owner,
    count: AtomicU64,
}

/// Who holds a lock: enough to see that a process of this host is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    host: String,
    process: u32,
    /// Two processes with one number, as in restarted containers, differ here.
    instance: u64,
}

impl DiskStorage {
    /// Opens a folder and makes it if it is not there.
    ///
    /// # Errors
    /// When it cannot be made or others may read it and that cannot be changed.
    pub fn open(root: &Path, clock: Clock) -> Result<Self, StorageError> {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let owner = Owner {
            host: host.trim().replace(' ', "-"),
            process: std::process::id(),
            instance: clearway_base::rng::Rng::from_entropy().next_u64(),
        };
        let disk = Disk {
            root: root.to_path_buf(),
            clock,
            owner,
            count: AtomicU64::new(0),
        };
        for folder in [root, &root.join("locks")] {
            make_folder(folder).map_err(failed("make", folder))?;
        }
        Ok(Self(Arc::new(disk)))
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Runs blocking work where it holds up no task.
    fn run<'a, T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, StorageError> + Send + 'static,
    ) -> Later<'a, T> {
        let disk = Arc::clone(&self.0);
        Box::pin(async move {
            tokio::task::spawn_blocking(move || work(&disk))
                .await
                .unwrap_or_else(|error| Err(StorageError(format!("the storage's thread: {error}"))))
        })
    }
}

impl Storage for DiskStorage {
    fn load<'a>(&'a self, key: &'a str) -> Later<'a, Option<Vec<u8>>> {
        let key = key.to_owned();
        self.run(move |disk| disk.load(&key))
    }

    fn store<'a>(&'a self, key: &'a str, value: &'a [u8]) -> Later<'a, ()> {
        let (key, value) = (key.to_owned(), value.to_vec());
        self.run(move |disk| disk.store(&key, &value))
    }

    fn delete<'a>(&'a self, key: &'a str) -> Later<'a, ()> {
        let key = key.to_owned();
        self.run(move |disk| disk.delete(&key))
    }

    fn list<'a>(&'a self, folder: &'a str) -> Later<'a, Vec<String>> {
        let folder = folder.to_owned();
        self.run(move |disk| disk.list(&folder))
    }

    fn lock<'a>(&'a self, name: &'a str, hold: Duration) -> Later<'a, Locked> {
        let name = name.to_owned();
        self.run(move |disk| disk.guarded(|| disk.lock(&name, hold)))
    }

    fn extend<'a>(&'a self, lease: &'a Lease, hold: Duration) -> Later<'a, bool> {
        let lease = lease.clone();
        self.run(move |disk| disk.guarded(|| disk.extend(&lease, hold)))
    }

    fn unlock<'a>(&'a self, lease: &'a Lease) -> Later<'a, ()> {
        let lease = lease.clone();
        self.run(move |disk| disk.guarded(|| disk.unlock(&lease)))
    }
}

impl Disk {
    fn path(&self, key: &str) -> Result<PathBuf, StorageError> {
        let is_fine = |segment: &str| {
            !segment.is_empty()
                && !segment.starts_with('.')
                && segment.len() <= 200
                && segment
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b))
        };
        if key.split('/').all(is_fine) {
            Ok(self.root.join(key))
        } else {
            Err(StorageError(format!("`{}` is no key", key.escape_debug())))
        }
    }

    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let path = self.path(key)?;
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open", &path)(error)),
        };
        let mut bytes = Vec::new();
        file.take(VALUE_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(failed("read", &path))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > VALUE_MAX {
            return Err(StorageError(format!(
                "{} is larger than {VALUE_MAX} bytes",
                path.display()
            )));
        }
        Ok(Some(bytes))
    }

    fn store(&self, key: &str, value: &[u8]) -> Result<(), StorageError> {
        let path = self.path(key)?;
        let folder = path.parent().unwrap_or(&self.root);
        make_folder(folder).map_err(failed("make", folder))?;
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        // Starts with a dot, so that no key ever names it.
        let beside = folder.join(format!(".new-{}-{number}", std::process::id()));
        let written = write_synced(&beside, value).and_then(|()| fs::rename(&beside, &path));
        if let Err(error) = written {
            drop(fs::remove_file(&beside));
            return Err(failed("write", &path)(error));
        }
        // The rename itself is only safe once the folder is.
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed("flush", folder))
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        let path = self.path(key)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        let path = self.path(folder)?;
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let mut keys = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("read", &path))?;
            // Names that no key can have are foreign, and none of our business.
            if let Ok(name) = entry.file_name().into_string()
                && self.path(&name).is_ok()
                && entry.file_type().is_ok_and(|kind| kind.is_file())
            {
                keys.push(format!("{folder}/{name}"));
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }

    /// Runs a change of locks while no other process makes one.
    fn guarded<T>(
        &self,
        change: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let path = self.root.join("locks/.guard");
        let guard = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open", &path))?;
        guard.lock().map_err(failed("lock", &path))?;
        let result = change();
        drop(guard);
        result
    }

    fn lock(&self, name: &str, hold: Duration) -> Result<Locked, StorageError> {
        let now = self.clock.now();
        let held = self.held(name)?;
        if let Some(held) = &held
            && held.until > now
            && !self.is_gone(held.owner.as_ref())
        {
            return Ok(Locked::Theirs {
                owner: held.owner.as_ref().map_or_else(
                    || "an unreadable lock file".to_owned(),
                    |owner| format!("process {} on {}", owner.process, owner.host),
                ),
                until: held.until,
            });
        }
        let fence = held.map_or(0, |held| held.fence) + 1;
        self.write_lock(name, fence, now.saturating_add(hold.as_secs()))?;
        Ok(Locked::Ours(Lease {
            name: name.to_owned(),
            fence,
        }))
    }

    fn extend(&self, lease: &Lease, hold: Duration) -> Result<bool, StorageError> {
        if !self.is_ours(lease)? {
            return Ok(false);
        }
        let until = self.clock.now().saturating_add(hold.as_secs());
        self.write_lock(&lease.name, lease.fence, until)?;
        Ok(true)
    }

    fn unlock(&self, lease: &Lease) -> Result<(), StorageError> {
        if self.is_ours(lease)? {
            // The file stays, so that its number goes on growing.
            self.write_lock(&lease.name, lease.fence, 0)?;
        }
        Ok(())
    }

    fn is_ours(&self, lease: &Lease) -> Result<bool, StorageError> {
        Ok(self.held(&lease.name)?.is_some_and(|held| {
            held.fence == lease.fence && held.owner.as_ref() == Some(&self.owner)
        }))
    }

    fn lock_key(name: &str) -> String {
        format!("locks/{}.lock", name.replace('/', "_"))
    }

    fn write_lock(&self, name: &str, fence: u64, until: u64) -> Result<(), StorageError> {
        let Owner {
            host,
            process,
            instance,
        } = &self.owner;
        let text = format!("{host} {process} {instance:016x} {fence} {until}\n");
        self.store(&Self::lock_key(name), text.as_bytes())
    }

    fn held(&self, name: &str) -> Result<Option<Held>, StorageError> {
        let key = Self::lock_key(name);
        let Some(bytes) = self.load(&key)? else {
            return Ok(None);
        };
        if let Some(held) = Held::read(&bytes) {
            return Ok(Some(held));
        }
        let path = self.path(&key)?;
        let written = fs::metadata(&path)
            .and_then(|meta| meta.modified())
            .map_err(failed("look at", &path))?
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Ok(Some(Held {
            owner: None,
            fence: 0,
            until: written + UNREADABLE_HOLD,
        }))
    }

    /// Whether the owner was a process of this host that is there no more.
    fn is_gone(&self, owner: Option<&Owner>) -> bool {
        owner.is_some_and(|owner| {
            owner.host == self.owner.host
                && owner.instance != self.owner.instance
                && (owner.process == self.owner.process
                    || !Path::new(&format!("/proc/{}", owner.process)).exists())
        })
    }
}

/// What a lock file says.
struct Held {
    owner: Option<Owner>,
    fence: u64,
    until: u64,
}

impl Held {
    fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut fields = text.trim_end_matches('\n').split(' ');
        let owner = Owner {
            host: fields.next()?.to_owned(),
            process: fields.next()?.parse().ok()?,
            instance: u64::from_str_radix(fields.next()?, 16).ok()?,
        };
        let (fence, until) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        fields.next().is_none().then_some(Self {
            owner: Some(owner),
            fence,
            until,
        })
    }
}

/// Makes a folder that only its owner may enter, and takes rights of others away from one that is there.
fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::metadata(folder) {
        Ok(meta) if !meta.is_dir() => return Err(io::ErrorKind::NotADirectory.into()),
        Ok(meta) if meta.permissions().mode() & 0o077 == 0 => return Ok(()),
        Ok(_) => {}
        Err(_) => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?,
    }
    // Not left to the mode alone: the folders above may have been there, this one must be closed.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

fn write_synced(path: &Path, value: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    // One left behind by a crash may have other rights.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(value)?;
    file.sync_all()
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
    let path = path.display().to_string();
    move |error| StorageError(format!("cannot {verb} {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clearway_testkit::TempDir;
    use proptest::prelude::*;

    use super::*;

    const HOLD: Duration = Duration::from_secs(100);

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    /// A storage as another process of this host would open it, at a time that the test sets.
    fn open(folder: &TempDir, time: &Arc<AtomicU64>) -> DiskStorage {
        let time = Arc::clone(time);
        let clock = Clock::new(move || time.load(Ordering::Relaxed));
        DiskStorage::open(&folder.path().join("acme"), clock).unwrap()
    }

    /// Makes it look as if another living process had opened it.
    fn as_process(storage: &DiskStorage, process: u32) -> DiskStorage {
        let disk = &storage.0;
        DiskStorage(Arc::new(Disk {
            root: disk.root.clone(),
            clock: disk.clock.clone(),
            owner: Owner {
                process,
                instance: disk.owner.instance ^ 1,
                ..disk.owner.clone()
            },
            count: AtomicU64::new(1 << 32),
        }))
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn values_come_back_and_nobody_else_may_read_them() {
        let folder = TempDir::new();
        let storage = open(&folder, &Arc::default());
        block_on(async {
            assert_eq!(storage.load("accounts/a.json").await, Ok(None));
            storage.store("accounts/a.json", b"one").await.unwrap();
            storage.store("accounts/a.json", b"two").await.unwrap();
            storage.store("accounts/b.json", b"").await.unwrap();
            let read = storage.load("accounts/a.json").await.unwrap();
            assert_eq!(read.as_deref(), Some(b"two".as_slice()));
            let keys = storage.list("accounts").await.unwrap();
            assert_eq!(keys, ["accounts/a.json", "accounts/b.json"]);
            storage.delete("accounts/b.json").await.unwrap();
            storage.delete("accounts/b.json").await.unwrap();
            assert_eq!(storage.list("accounts").await.unwrap().len(), 1);
            assert_eq!(storage.list("nothing").await, Ok(Vec::new()));
        });
        let root = storage.root();
        assert_eq!(mode(root), 0o700);
        assert_eq!(mode(&root.join("accounts")), 0o700);
        assert_eq!(mode(&root.join("accounts/a.json")), 0o600);
        let names = fs::read_dir(root.join("accounts")).unwrap().count();
        assert_eq!(names, 1, "nothing is left beside");
    }

    #[test]
    fn a_folder_open_to_others_is_closed() {
        let folder = TempDir::new();
        let root = folder.path().join("acme");
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        DiskStorage::open(&root, Clock::wall()).unwrap();
        assert_eq!(mode(&root), 0o700);
    }

    #[test]
    fn keys_do_not_lead_outside() {
        let folder = TempDir::new();
        let storage = open(&folder, &Arc::default());
        for key in [
            "../x", "a/../x", "/etc/x", "", "a//b", ".hidden", "A", "a\0",
        ] {
            let told = block_on(storage.store(key, b"")).unwrap_err();
            assert!(told.0.contains("is no key"), "{told}");
        }
    }

    #[test]
    fn foreign_files_are_left_alone() {
        let folder = TempDir::new();
        let storage = open(&folder, &Arc::default());
        block_on(storage.store("certificates/a.pem", b"x")).unwrap();
        let foreign = storage.root().join("certificates/Notes of mine.txt");
        fs::write(&foreign, "x").unwrap();
        fs::create_dir(storage.root().join("certificates/folder")).unwrap();
        let keys = block_on(storage.list("certificates")).unwrap();
        assert_eq!(keys, ["certificates/a.pem"]);
        assert!(foreign.exists());
    }

    #[test]
    fn errors_name_file_and_reason() {
        let folder = TempDir::new();
        let storage = open(&folder, &Arc::default());
        fs::write(storage.root().join("accounts"), "a file in the way").unwrap();
        let told = block_on(storage.store("accounts/a", b"")).unwrap_err();
        assert!(told.0.contains("acme/accounts"), "{told}");
        fs::create_dir(storage.root().join("dir")).unwrap();
        let told = block_on(storage.load("dir")).unwrap_err();
        assert!(told.0.contains("directory"), "{told}");
    }

    #[test]
    fn a_lock_has_one_owner_and_ends() {
        let folder = TempDir::new();
        let time = Arc::new(AtomicU64::new(1_000));
        let ours = open(&folder, &time);
        let theirs = as_process(&ours, 1);
        block_on(async {
            let Locked::Ours(lease) = ours.lock("a/b", HOLD).await.unwrap() else {
                panic!("the lock is free");
            };
            let Locked::Theirs { owner, until } = theirs.lock("a/b", HOLD).await.unwrap() else {
                panic!("the lock is taken");
            };
            assert!(owner.contains(&std::process::id().to_string()), "{owner}");
            assert_eq!(until, 1_100);
            assert!(ours.extend(&lease, HOLD * 2).await.unwrap());
            time.store(1_150, Ordering::Relaxed);
            assert!(matches!(
                theirs.lock("a/b", HOLD).await,
                Ok(Locked::Theirs { until: 1_200, .. })
            ));
            // Past its end it goes to whoever comes, with a higher number.
            time.store(1_200, Ordering::Relaxed);
            let Locked::Ours(second) = theirs.lock("a/b", HOLD).await.unwrap() else {
                panic!("the lock is over its time");
            };
            assert!(second.fence > lease.fence);
            assert!(!ours.extend(&lease, HOLD).await.unwrap());
            ours.unlock(&lease).await.unwrap();
            assert!(matches!(
                ours.lock("a/b", HOLD).await,
                Ok(Locked::Theirs { .. })
            ));
            theirs.unlock(&second).await.unwrap();
            assert!(matches!(ours.lock("a/b", HOLD).await, Ok(Locked::Ours(_))));
        });
    }

    #[test]
    fn a_lock_of_a_process_that_is_gone_is_free() {
        let folder = TempDir::new();
        let ours = open(&folder, &Arc::default());
        // No process has this number: it is above what the kernel gives out.
        let gone = as_process(&ours, u32::MAX);
        let restarted = as_process(&ours, std::process::id());
        block_on(async {
            for other in [gone, restarted] {
                assert!(matches!(other.lock("x", HOLD).await, Ok(Locked::Ours(_))));
                let Ok(Locked::Ours(lease)) = ours.lock("x", HOLD).await else {
                    panic!("its owner is gone");
                };
                ours.unlock(&lease).await.unwrap();
            }
        });
    }

    #[test]
    fn an_unreadable_lock_counts_as_held_for_a_while() {
        let folder = TempDir::new();
        let time = Arc::new(AtomicU64::new(Clock::wall().now()));
        let storage = open(&folder, &time);
        fs::write(storage.root().join("locks/x.lock"), "what is this").unwrap();
        assert!(matches!(
            block_on(storage.lock("x", HOLD)),
            Ok(Locked::Theirs { .. })
        ));
        time.fetch_add(UNREADABLE_HOLD + 60, Ordering::Relaxed);
        assert!(matches!(
            block_on(storage.lock("x", HOLD)),
            Ok(Locked::Ours(_))
        ));
    }

    #[test]
    fn of_many_that_want_a_lock_one_gets_it() {
        let folder = TempDir::new();
        let storage = open(&folder, &Arc::default());
        let takers: Vec<_> = (0..8)
            .map(|number| {
                let other = as_process(&storage, 1);
                let name = if number < 4 { "a" } else { "b" };
                std::thread::spawn(move || block_on(other.lock(name, HOLD)).unwrap())
            })
            .collect();
        let taken = takers
            .into_iter()
            .map(|taker| taker.join().unwrap())
            .filter(|locked| matches!(locked, Locked::Ours(_)))
            .count();
        assert_eq!(taken, 2);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Store(String, Vec<u8>),
        Delete(String),
        Reopen,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let key = || "(a|b)/[a-c]\\.(pem|json)";
        let value = proptest::collection::vec(any::<u8>(), 0..200);
        let step = prop_oneof![
            4 => (key(), value).prop_map(|(key, value)| Step::Store(key, value)),
            2 => key().prop_map(Step::Delete),
            1 => Just(Step::Reopen),
        ];
        proptest::collection::vec(step, 1..25)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_folder_holds_what_was_stored_last(steps in steps()) {
            let folder = TempDir::new();
            let mut storage = open(&folder, &Arc::default());
            let mut model = BTreeMap::new();
            block_on(async {
                for step in steps {
                    match step {
                        Step::Store(key, value) => {
                            storage.store(&key, &value).await.unwrap();
                            model.insert(key, value);
                        }
                        Step::Delete(key) => {
                            storage.delete(&key).await.unwrap();
                            model.remove(&key);
                        }
                        Step::Reopen => storage = open(&folder, &Arc::default()),
                    }
                }
                let mut keys = storage.list("a").await.unwrap();
                keys.extend(storage.list("b").await.unwrap());
                assert!(keys.iter().eq(model.keys()), "{keys:?}");
                for (key, value) in &model {
                    assert_eq!(storage.load(key).await.unwrap().as_ref(), Some(value));
                }
            });
        }
    }
}
