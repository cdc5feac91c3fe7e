//! Users of the system, and threads that have the rights of one.
//!
//! Rights belong to threads (`credentials(7)`); the C library changes those of all of them at once, which is not what
//! is wanted here: control goes on with the rights that the process was started with, to read keys and open sockets
//! of low ports again.

#![expect(
    unsafe_code,
    reason = "the C library knows users and groups, whatever they are kept in"
)]

use std::ffi::{CStr, CString};
use std::io;
use std::ptr;

use rustix::thread::{self, Gid, Uid};

/// Bytes for what the system says of a user or group.
const ROOM: usize = 16 << 10;

/// Groups that a user may be in.
const GROUPS: usize = 256;

/// A user with the groups it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    user: u32,
    group: u32,
    groups: Vec<u32>,
}

impl Identity {
    /// Looks up a user and a group by their names or numbers. Without a group it is the user's own (`getpwnam(3)`).
    ///
    /// # Errors
    /// There is no such user or group, in words.
    pub fn find(user: &str, group: Option<&str>) -> Result<Self, String> {
        let known = match user.parse() {
            Ok(number) => Some((number, number)),
            Err(_) => user_ids(user),
        };
        let (id, own) = known.ok_or_else(|| format!("there is no user {user:?}"))?;
        let group = match group {
            None => own,
            Some(name) => match name.parse() {
                Ok(number) => number,
                Err(_) => group_id(name).ok_or_else(|| format!("there is no group {name:?}"))?,
            },
        };
        Ok(Self {
            user: id,
            group,
            groups: groups_of(user, group),
        })
    }

    /// Gives the calling thread the rights of this user and no others; threads that it starts have them too.
    ///
    /// # Errors
    /// The thread may not change who it is (`setresuid(2)`).
    pub fn assume(&self) -> io::Result<()> {
        let groups: Vec<Gid> = self.groups.iter().map(|id| Gid::from_raw(*id)).collect();
        let (user, group) = (Uid::from_raw(self.user), Gid::from_raw(self.group));
        thread::set_thread_groups(&groups)?;
        thread::set_thread_res_gid(group, group, group)?;
        thread::set_thread_res_uid(user, user, user)?;
        Ok(())
    }
}

/// Whether the process may become somebody else.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The numbers of a user and of its group.
fn user_ids(name: &str) -> Option<(u32, u32)> {
    let name = CString::new(name).ok()?;
    let mut room = vec![0; ROOM];
    // SAFETY: all-zero is a valid `passwd`: null pointers and numbers.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = ptr::null_mut();
    // SAFETY: the name ends with NUL; entry, room and found are writable, and the room is as long as is said.
    let status = unsafe {
        libc::getpwnam_r(
            name.as_ptr(),
            &raw mut entry,
            room.as_mut_ptr(),
            room.len(),
            &raw mut found,
        )
    };
    (status == 0 && !found.is_null()).then_some((entry.pw_uid, entry.pw_gid))
}

/// The number of a group.
fn group_id(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    let mut room = vec![0; ROOM];
    // SAFETY: all-zero is a valid `group`: null pointers and numbers.
    let mut entry: libc::group = unsafe { std::mem::zeroed() };
    let mut found = ptr::null_mut();
    // SAFETY: the name ends with NUL; entry, room and found are writable, and the room is as long as is said.
    let status = unsafe {
        libc::getgrnam_r(
            name.as_ptr(),
            &raw mut entry,
            room.as_mut_ptr(),
            room.len(),
            &raw mut found,
        )
    };
    (status == 0 && !found.is_null()).then_some(entry.gr_gid)
}

/// The groups that a user is in, with `group`; that alone where nobody knows.
fn groups_of(user: &str, group: u32) -> Vec<u32> {
    let Ok(name) = CString::new(user) else {
        return vec![group];
    };
    let name: &CStr = &name;
    let mut groups = vec![group; GROUPS];
    let mut count = libc::c_int::try_from(groups.len()).unwrap_or(1);
    // SAFETY: the name ends with NUL, and `groups` has room for as many numbers as `count` says.
    let status =
        unsafe { libc::getgrouplist(name.as_ptr(), group, groups.as_mut_ptr(), &raw mut count) };
    match usize::try_from(count) {
        Ok(count) if status >= 0 => groups.truncate(count),
        Ok(_) | Err(_) => groups.truncate(1),
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        let root = Identity::find("root", None).unwrap();
        assert_eq!((root.user, root.group), (0, 0));
        assert!(root.groups.contains(&0), "{root:?}");
        let number = Identity::find("12345", Some("0")).unwrap();
        assert_eq!((number.user, number.group), (12345, 0));
        for (user, group) in [("no-such-user", None), ("root", Some("no-such-group"))] {
            let words = Identity::find(user, group).unwrap_err();
            assert!(words.starts_with("there is no "), "{words}");
        }
    }

    #[test]
    fn only_the_calling_thread_changes() {
        if !is_root() {
            let other = Identity::find("12345", None).unwrap();
            assert!(other.assume().is_err(), "only root may be somebody else");
            return;
        }
        let change = || {
            Identity::find("12345", None).unwrap().assume().unwrap();
            std::fs::File::open("/etc/shadow").map(drop)
        };
        let within = std::thread::spawn(change).join().unwrap();
        assert!(within.is_err(), "the thread has no rights any more");
        assert!(is_root(), "and the others keep theirs");
    }
}
