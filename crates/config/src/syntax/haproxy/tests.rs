//! What is read as it is written.

use super::*;

fn flat(tree: &Tree) -> Vec<String> {
    let line = |line: &Line| line.texts(0).collect::<Vec<_>>().join("|");
    let sections = tree.sections.iter();
    sections
        .flat_map(|section| std::iter::once(&section.head).chain(&section.lines))
        .map(line)
        .collect()
}

fn messages(tree: &Tree) -> Vec<String> {
    tree.diagnostics.iter().map(ToString::to_string).collect()
}

#[test]
fn words_quotes_escapes_and_comments() {
    let tree = read(
        "t",
        "global # all\n  a \"b # c\"'d \\e' f\\ g h\\#i \\.php$ \"${X}:80\" \\x41\\xzz\r\n#x\n\n b \"q\\\"r\"#z\n",
    );
    assert_eq!(messages(&tree), Vec::<String>::new());
    assert_eq!(
        flat(&tree),
        [
            "global",
            "a|b # cd \\e|f g|h#i|\\.php$|${X}:80|A\\xzz",
            "b|q\"r"
        ]
    );
}

#[test]
fn sections_names_and_places() {
    let tree = read(
        "t",
        "defaults base\ndefaults d from base\ndefaults from d\nlisten x\n\tbind :80\n",
    );
    let names: Vec<_> = tree.sections.iter().map(|s| (s.name(), s.from())).collect();
    assert_eq!(
        names,
        [
            ("base", None),
            ("d", Some("base")),
            ("", Some("d")),
            ("x", None)
        ]
    );
    let origin = tree.sections[3].lines[0].origin();
    assert_eq!((origin.line, origin.column, origin.len), (5, 2, 8));
}

#[test]
fn mistakes_are_told_and_the_rest_is_understood() {
    let tree = read(
        "t",
        "mode http\nmode tcp\n.if defined(X)\nbackend a\n.else\nbackend b\n.endif\n server \"x\n log y\n",
    );
    assert_eq!(
        messages(&tree),
        [
            "t:1:1: error: \"mode\" stands outside of any section; expected \"global\", \
             \"defaults\", \"frontend\", \"backend\" or \"listen\"",
            "t:3:1: warning: every branch of this condition is read as if it held",
            "t:8:9: error: this quote is not closed",
        ]
    );
    assert_eq!(flat(&tree), ["backend|a", "backend|b", "server|x", "log|y"]);
}

#[test]
fn directories_are_read_in_order_of_names() {
    let folder = std::env::temp_dir().join(format!("clearway-cfg-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in [
        ("2.cfg", "backend two"),
        ("1.cfg", "backend one"),
        ("x.txt", "peers p"),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let tree = read_files(&[folder.clone(), folder.join("none.cfg")]);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(flat(&tree), ["backend|one", "backend|two"]);
    assert_eq!((tree.files.len(), tree.diagnostics.len()), (2, 1));
}
