//! `cargo xtask corpus`: how much of other people's configuration files Clearway understands.
//!
//! Files of others name certificates, lists, error pages, included files and variables of the environment
//! that are not here. Each is given stubs of its own in a scratch folder first, and a part of a
//! configuration is put where its readers would include it, so that only the language is judged. The files
//! stay where they are, and nothing of them is kept.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::shell;

mod environment;
mod haproxy;
mod nginx;
mod report;
mod scratch;
mod verdict;

use scratch::Scratch;
use verdict::Verdict;

/// How many files are looked at at the same time.
const SIDE_BY_SIDE: usize = 2;

/// Options of `corpus`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder; every file in it and below is looked at.
    folder: PathBuf,
    /// What they are written in.
    #[arg(long)]
    language: Language,
    /// Only files whose path contains this text (repeat for several).
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Look at this program instead of building one.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Fail when fewer than so many per cent of the files are accepted.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    least: f64,
    /// Convert what is accepted, and fail unless what comes of it means the same.
    #[arg(long)]
    convert: bool,
    /// Print what is wrong with each file that is not accepted.
    #[arg(long)]
    why: bool,
    /// Leave the files with their stubs where they are and say where that is.
    #[arg(long)]
    keep: bool,
}

/// A language of configuration files.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Language {
    Nginx,
    Haproxy,
}

impl Language {
    /// The option of the command line that names a file of it.
    fn option(self) -> &'static str {
        match self {
            Self::Nginx => "--nginx",
            Self::Haproxy => "--haproxy",
        }
    }

    /// Writes a file with its stubs; returns the one to read.
    fn stub(self, text: &str, scratch: &Scratch<'_>) -> Result<Stubbed, String> {
        match self {
            Self::Nginx => nginx::stub(text, scratch),
            Self::Haproxy => haproxy::stub(text, scratch),
        }
    }
}

/// A file with what it needs.
struct Stubbed {
    /// The file to read.
    main: PathBuf,
    /// The one that holds what is judged; another one if it had to be put into something.
    file: PathBuf,
    /// Lines that must be spoken of, with their first words.
    lines: Vec<(u32, String)>,
}

/// Looks at every file and prints what comes of it.
///
/// # Errors
/// When a file makes Clearway panic or leaves a directive without a word, or when fewer are accepted than
/// are asked for.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let program = match &args.program {
        Some(program) => program.canonicalize().map_err(told(program))?,
        None => build()?,
    };
    let files = files(&args.folder, &args.only)?;
    if files.is_empty() {
        return Err(format!("there are no files in {}", args.folder.display()));
    }
    let place = std::env::temp_dir().join(format!("clearway-corpus-{}", std::process::id()));
    let material = scratch::Material::make(&place)?;
    let one = |index: usize, path: &Path| -> Result<Verdict, String> {
        let bytes = std::fs::read(path).map_err(told(path))?;
        let text = String::from_utf8_lossy(&bytes);
        let scratch = Scratch::make(&place.join(index.to_string()), &material)?;
        let stubbed = args.language.stub(&text, &scratch)?;
        let option = args.language.option();
        let mut verdict = verdict::check(&program, option, &stubbed)?;
        if args.convert && verdict.is_accepted() {
            verdict.conversion = verdict::convert(&program, option, &stubbed)?;
        }
        if !verdict.is_accepted() && args.language == Language::Haproxy {
            verdict.refused = verdict::original(&stubbed.main);
        }
        Ok(verdict)
    };
    let judged = side_by_side(&files, &one);
    if args.keep {
        println!("the files with their stubs: {}", place.display());
    } else if let Err(error) = std::fs::remove_dir_all(&place) {
        eprintln!("{}: {error}", place.display());
    }
    let judged: Vec<(String, Verdict)> = judged?;
    print!("{}", report::files(&judged, args.why));
    print!("{}", report::table(&judged));
    report::failures(&judged, args.least)
}

/// Judges all files, in the order of their names.
fn side_by_side(
    files: &[(String, PathBuf)],
    one: &(impl Fn(usize, &Path) -> Result<Verdict, String> + Sync),
) -> Result<Vec<(String, Verdict)>, String> {
    let queue: Mutex<VecDeque<usize>> = Mutex::new((0..files.len()).collect());
    let done = Mutex::new(Vec::with_capacity(files.len()));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let next = lock(&queue).pop_front();
                    let Some((index, file)) = next.and_then(|at| Some((at, files.get(at)?))) else {
                        break;
                    };
                    let verdict = one(index, &file.1);
                    lock(&done).push((file.0.clone(), verdict));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by(|a, b| a.0.cmp(&b.0));
    done.into_iter()
        .map(|(name, verdict)| Ok((name, verdict?)))
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files of a folder by their paths in it.
fn files(folder: &Path, only: &[String]) -> Result<Vec<(String, PathBuf)>, String> {
    let mut folders = vec![folder.to_path_buf()];
    let mut files = Vec::new();
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).map_err(told(&next))? {
            let path = entry.map_err(told(&next))?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inner = path.strip_prefix(folder).unwrap_or(&path);
            let name = inner.display().to_string();
            if only.is_empty() || only.iter().any(|part| name.contains(part)) {
                files.push((name, path));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Builds Clearway and says where it is: beside this program.
fn build() -> Result<PathBuf, String> {
    let mut cargo = shell::cargo();
    shell::run(cargo.args(["build", "--quiet", "-p", "clearway"]))?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(own.with_file_name("clearway"))
}

/// What went wrong with a file, in words.
fn told(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}
