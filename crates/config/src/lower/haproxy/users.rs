//! `userlist`: users and groups, and the criteria `http_auth` and `http_auth_group` that ask for them.
//!
//! The criteria stand among the ACLs of every proxy under names that no ACL can have: what they look like
//! in a line.

use super::super::notes::Notes;
use super::acl::Acls;
use super::stats::plain;
use crate::lower::build;
use crate::model::{Condition, HeaderValue, Pairs};
use crate::syntax::haproxy::Section;
use crate::value::Text;

/// A user: the name, the password, and the groups.
struct User {
    name: HeaderValue,
    password: String,
    groups: Vec<String>,
}

/// Reads a section and puts what can be asked of it among ACLs.
pub(super) fn read(section: &Section, acls: &mut Acls, notes: &mut Notes) {
    let mut users: Vec<User> = Vec::new();
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    notes.begin(section.head.origin(), section.head.text());
    for line in &section.lines {
        notes.begin(line.origin(), line.text());
        let words: Vec<&str> = line.texts(0).collect();
        match words.as_slice() {
            ["group", name] => groups.push(((*name).to_owned(), Vec::new())),
            ["group", name, "users", list, ..] => {
                groups.push(((*name).to_owned(), list_of(list)));
            }
            ["user", name, rest @ ..] => match user(name, rest) {
                Ok(user) => users.push(user),
                Err(message) => notes.wrong(&line.origin(), message, ""),
            },
            _ => notes.refused(format!("\"{}\" is not known here", line.word(0))),
        }
    }
    for user in &mut users {
        let own = groups
            .iter()
            .filter(|(_, members)| members.iter().any(|member| member == user.name.as_str()));
        user.groups.extend(own.map(|(name, _)| name.clone()));
        for group in &user.groups {
            if !groups.iter().any(|(name, _)| name == group) {
                groups.push((group.clone(), Vec::new()));
            }
        }
    }
    let list = section.name();
    let all = condition(&users, |_| true);
    acls.insert(format!("http_auth({list})"), vec![all]);
    for (group, _) in &groups {
        let members = condition(&users, |user| user.groups.contains(group));
        acls.insert(format!("http_auth_group({list}) {group}"), vec![members]);
    }
}

fn list_of(text: &str) -> Vec<String> {
    let names = text.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn user(name: &str, words: &[&str]) -> Result<User, String> {
    let mut user = User {
        name: HeaderValue::parse(name).map_err(|problem| problem.message)?,
        password: String::new(),
        groups: Vec::new(),
    };
    let mut rest = words;
    while let [word, value, tail @ ..] = rest {
        match *word {
            "password" => user.password = (*value).to_owned(),
            "insecure-password" => user.password = plain(value),
            "groups" => user.groups = list_of(value),
            other => return Err(format!("{other:?} is not known")),
        }
        rest = tail;
    }
    if user.password.is_empty() {
        return Err(format!("the user {name} has no password"));
    }
    Ok(user)
}

fn condition(users: &[User], fits: impl Fn(&User) -> bool) -> Condition {
    let chosen = users.iter().filter(|user| fits(user));
    let pairs: Vec<_> = chosen
        .map(|user| (user.name.clone(), user.password.clone()))
        .collect();
    if pairs.is_empty() {
        return build::never();
    }
    Condition {
        user: Pairs(pairs),
        ..Condition::default()
    }
}

/// The condition of a criterion about users; none when it is about something else.
///
/// # Errors
/// A sentence about a list or group that is not there.
pub(super) fn criterion(words: &[&str], acls: &Acls) -> Option<Result<Condition, String>> {
    let (expression, patterns) = words.split_first()?;
    if let Some(found) = expression
        .starts_with("http_auth(")
        .then(|| acls.get(*expression))
    {
        let found = found.map(|all| build::one_of(all.clone()));
        return Some(found.ok_or_else(|| format!("there is no userlist for {expression}")));
    }
    if !expression.starts_with("http_auth_group(") {
        return None;
    }
    let mut any = Vec::new();
    for pattern in patterns
        .iter()
        .filter(|word| !word.starts_with('-') && **word != "str")
    {
        match acls.get(&format!("{expression} {pattern}")) {
            Some(found) => any.push(build::one_of(found.clone())),
            None => {
                return Some(Err(format!(
                    "there is no group {pattern:?} for {expression}"
                )));
            }
        }
    }
    Some(match any.is_empty() {
        true => Err("groups are missing".to_owned()),
        false => Ok(build::one_of(any)),
    })
}
