//! Words, blocks and files of NGINX: what is understood, and what is told of the rest.

use super::*;

fn flat(directives: &[Directive]) -> String {
    let one = |directive: &Directive| {
        let mut text = directive.name.text.clone();
        for argument in directive.texts() {
            text.push_str(&format!("|{argument}"));
        }
        if let Some(block) = &directive.block {
            text.push_str(&format!("{{{}}}", flat(block)));
        }
        text
    };
    directives.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn messages(tree: &Tree) -> Vec<String> {
    tree.diagnostics.iter().map(ToString::to_string).collect()
}

#[test]
fn words_quotes_escapes_and_blocks() {
    let tree = read(
        "t",
        "a 1 'two words' \"q\\\"uo\\te\";\nif ($x ~ \"^/{1}\") { b \\d+\\.$ ${v}x; }\nc{d;}",
    );
    assert_eq!(messages(&tree), Vec::<String>::new());
    assert_eq!(
        flat(&tree.directives),
        "a|1|two words|q\"uo\te if|($x|~|^/{1}|){b|\\d+\\.$|${v}x} c{d}"
    );
}

#[test]
fn places_count_lines_and_characters() {
    let tree = read("t.conf", "# ä\n  a 'ö' b;\nc \"x\ny\";\n");
    let [a, c] = tree.directives.as_slice() else {
        panic!("{tree:?}")
    };
    let origin = a.origin();
    assert_eq!((origin.line, origin.column, origin.len), (2, 3, 7));
    assert_eq!(a.arguments[1].origin.to_string(), "t.conf:2:9");
    assert_eq!(
        (c.arguments[0].origin.line, c.arguments[0].origin.len),
        (3, 2)
    );
    assert_eq!(c.arguments[0].text, "x\ny");
}

#[test]
fn comments_belong_to_what_they_stand_at() {
    let tree = read(
        "t",
        "## one\n# two\na; # behind\n# for b\nb {\n  c; # inner\n  # last\n}\n",
    );
    let comments: Vec<_> = tree.directives.iter().map(|d| d.comments.clone()).collect();
    assert_eq!(comments[0], ["one", "two", "behind"]);
    assert_eq!(comments[1], ["for b"]);
    assert_eq!(tree.directives[1].inner()[0].comments, ["inner"]);
}

#[test]
fn lua_is_stepped_over() {
    let tree = read(
        "t",
        "location / { content_by_lua_block {\n local a = { '}', \"}\" } -- }\n --[[ } ]] s = [=[ } ]=]\n } deny all; }\nx;",
    );
    assert_eq!(messages(&tree), Vec::<String>::new());
    assert_eq!(
        flat(&tree.directives),
        "location|/{content_by_lua_block deny|all} x"
    );
}

#[test]
fn mistakes_are_told_and_the_rest_is_understood() {
    let tree = read("t", ";\na {\n b 1\n}\n}\n{ c; }\nd \"x;\n");
    assert_eq!(
        messages(&tree),
        [
            "t:1:1: error: there is nothing before this \";\"",
            "t:3:2: error: \"b\" does not end; expected \";\"",
            "t:5:1: error: there is no block to close here",
            "t:6:1: error: there is no name before this \"{\"",
            "t:7:3: error: this quote is not closed",
            "t:7:1: error: \"d\" does not end; expected \";\"",
        ]
    );
    assert_eq!(flat(&tree.directives), "a{b|1} {c} d|x;\n");
}

#[test]
fn depth_is_bounded() {
    let tree = read("t", &format!("{}x;", "a {".repeat(100_000)));
    assert!(
        tree.diagnostics
            .iter()
            .any(|found| { found.message == "blocks are nested too deeply; this one is left out" })
    );
}

#[test]
fn includes_are_followed_from_the_folder_of_the_main_file() {
    let folder = std::env::temp_dir().join(format!("clearway-include-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("conf.d")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write(
        "main.conf",
        "http {\n include conf.d/*.conf;\n include conf.d/none*;\n include gone;\n}\n",
    );
    write("conf.d/b.conf", "b;\ninclude loop;\n");
    write("conf.d/a.conf", "\n  a;\n");
    write("conf.d/.hidden.conf", "hidden;");
    write("loop", "include conf.d/b.conf;");
    let tree = read_file(&folder.join("main.conf"));
    std::fs::remove_dir_all(&folder).unwrap();
    let place = folder.display().to_string();
    let said: Vec<_> = messages(&tree)
        .iter()
        .map(|m| m.replace(&place, ""))
        .collect();
    assert_eq!(
        said,
        [
            "/loop:1:1: error: /conf.d/b.conf includes itself",
            "/main.conf:4:2: warning: cannot read /gone: No such file or directory (os error 2); \
             what stands there is not taken into account",
        ]
    );
    let files: Vec<_> = tree.files.iter().map(|f| f.replace(&place, "")).collect();
    assert_eq!(
        files,
        ["/main.conf", "/conf.d/a.conf", "/conf.d/b.conf", "/loop"]
    );
    assert_eq!(
        flat(&tree.directives),
        "http{include|conf.d/*.conf a b include|loop include|conf.d/b.conf \
         include|conf.d/none* include|gone}"
    );
    let a = &tree.directives[0].inner()[1];
    assert!(a.origin().to_string().ends_with("/conf.d/a.conf:2:3"));
    assert!(tree.lacks_files);
}
