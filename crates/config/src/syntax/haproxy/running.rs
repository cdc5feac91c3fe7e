//! What is read to be run. What is expected here is what HAProxy 2.6.12 makes of the same lines.

use proptest::prelude::*;

use super::*;

fn environment() -> Environment {
    let variables = [
        ("A", "hello"),
        ("E", ""),
        ("L", "a b  c"),
        ("S", " x y "),
        ("Q", "\"q"),
        ("PATH", "p"),
    ];
    Environment::new(variables.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

fn read_for(text: &str) -> (Tree, Environment) {
    let mut environment = environment();
    let mut tree = Tree::default();
    read_into("t", text, &mut Mode::ToRun(&mut environment), &mut tree);
    (tree, environment)
}

/// The words of one line in a section.
fn words(line: &str) -> Result<Vec<String>, String> {
    let (tree, _) = read_for(&format!("defaults\n{line}\n"));
    match tree.diagnostics.first() {
        Some(found) => Err(found.to_string()),
        None => {
            let lines = &tree.sections.first().unwrap().lines;
            Ok(lines[0].texts(0).map(str::to_owned).collect())
        }
    }
}

fn flat(tree: &Tree) -> Vec<String> {
    let lines = tree.sections.iter().flat_map(|section| &section.lines);
    lines
        .map(|line| line.texts(0).collect::<Vec<_>>().join("|"))
        .collect()
}

#[test]
fn variables_stand_for_their_values_inside_double_quotes_only() {
    for (line, expected) in [
        (r#""$A""#, "hello"),
        (r#"$A '$A' ${A}"#, "$A|$A|${A}"),
        (
            r#""${A}x" "$A.x" "$A-b" "$A[*]" "$A$A""#,
            "hellox|hello.x|hello-b|hello[*]|hellohello",
        ),
        (r#""$NONE" z"#, "|z"),
        (r#""${NONE-def}" "${E-def}" "${A-$E}""#, "def||hello"),
        (r#""${NONE-a b}" "${NONE-$A}" "${NONE-}x""#, "a b|$A|x"),
        (
            r#""${NONE-"x"}" "${NONE-a\}b}" "${NONE-{a}b}""#,
            "\"x\"|a\\b}|{ab}",
        ),
        (r#""\$A" "\\$A" \$A "\x24A""#, "$A|\\hello|\\$A|$A"),
        (r#""$Q""#, "\"q"),
        (r#""x${L[*]}y" z"#, "xa|b|cy|z"),
        (r#""${S[*]}z""#, "|x|y|z"),
        (
            r#""a${E[*]}b" "${NONE[*]}" "${A[*]-d}" "${NONE[*]-d e}""#,
            "ab||hello|d|e",
        ),
        (
            r#""${.FILE}" "$.LINE" "${.SECTION}" "${.LINE-q}""#,
            "t|2|defaults|2",
        ),
        (
            r#""\{ \" \' \# \  \t" a\qb \.php$ \x41"#,
            "\\{ \" ' #   \t|a\\qb|\\.php$|A",
        ),
        (r#"'it'"s"\ ok #c"#, "its ok"),
        ("\"\"", ""),
    ] {
        assert_eq!(
            words(line).map(|words| words.join("|")),
            Ok(expected.to_owned()),
            "{line}"
        );
    }
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    for (line, expected) in [
        (
            r#"x "$""#,
            "t:2:4: error: forbidden first char in environment variable name",
        ),
        (
            r#"x "$1""#,
            "t:2:4: error: forbidden first char in environment variable name",
        ),
        (
            r#"x "${}""#,
            "t:2:4: error: forbidden first char in environment variable name",
        ),
        (
            r#"x "${.BAD}""#,
            "t:2:4: error: forbidden first char in environment variable name",
        ),
        (
            r#"x "${A""#,
            "t:2:4: error: unmatched brace in environment variable name",
        ),
        (
            r#"x "${A b}""#,
            "t:2:4: error: unmatched brace in environment variable name",
        ),
        (
            r#"x "${A+b}""#,
            "t:2:4: error: unmatched brace in environment variable name",
        ),
        (
            r#"x "${A[1]}""#,
            "t:2:4: error: unmatched brace in environment variable name",
        ),
        (r#"x "a"#, "t:2:3: error: unmatched quote"),
        (r#"x 'a"#, "t:2:3: error: unmatched quote"),
        (
            r#"x "\x4""#,
            "t:2:4: error: truncated or invalid hexadecimal sequence",
        ),
        ("x a\0b", "t:2:4: error: a NUL character"),
    ] {
        assert_eq!(words(line), Err(expected.to_owned()), "{line}");
    }
    assert!(words(&"a ".repeat(64)).is_ok());
    let long = words(&"a ".repeat(65)).unwrap_err();
    assert!(long.starts_with("t:2:129: error: too many words"), "{long}");
    let (tree, _) = read_for("defaults\n mode http");
    assert_eq!(
        tree.diagnostics[0].to_string(),
        "t:2:11: warning: Missing LF on last line, file might have been truncated"
    );
}

#[test]
fn global_keywords_change_what_later_lines_find() {
    let (tree, environment) = read_for(
        "global\n presetenv A one\n presetenv B two\n setenv C \"${A}${B}\" more\n unsetenv A\n\
         .if 0\n setenv C no\n.endif\ndefaults d\n x \"$A/$B/$C/${.SECTION}\"\n setenv B ignored\n x \"$B\"\n\
         global\n resetenv B PATH\nlisten l\n y \"$B/$C\"\n",
    );
    assert!(tree.diagnostics.is_empty(), "{:?}", tree.diagnostics);
    let lines = flat(&tree);
    assert!(lines.contains(&"x|/two/hellotwo/d".to_owned()), "{lines:?}");
    assert!(lines.contains(&"x|two".to_owned()), "{lines:?}");
    assert!(lines.contains(&"y|two/".to_owned()), "{lines:?}");
    assert_eq!(
        (environment.variable("PATH"), environment.variable("L")),
        (Some("p"), None)
    );

    let (tree, _) = read_for(
        "global\n setenv X\n presetenv X\n setenv a=b 1\n setenv \"\" 1\n unsetenv\n resetenv\n",
    );
    let messages: Vec<_> = tree
        .diagnostics
        .iter()
        .map(|d| d.message.as_str())
        .collect();
    assert_eq!(
        messages,
        [
            "'setenv' expects a name and a value",
            "'presetenv' expects a name and a value",
            "'setenv' failed on variable 'a=b': Invalid argument",
            "'setenv' failed on variable '': Invalid argument",
            "'unsetenv' expects at least one variable name",
        ]
    );
}

#[test]
fn one_branch_is_taken() {
    let (tree, environment) = read_for(
        "listen l\n.if 0\n a\n .bad\n .if foo(\n  b\n .else\n  c\n .endif\n.elif streq(\"$L\",a b c) || 1\n d\n\
         .elif 1\n e\n.else\n f\n.endif\n.if !defined(A)\n g\n.else\n h\n .notice \"n $A\"\n .diag d\n.endif\n i\n",
    );
    assert!(tree.diagnostics.is_empty(), "{:?}", tree.diagnostics);
    assert_eq!(flat(&tree), ["d", "h", "i"]);
    let notices = environment.notices().iter();
    let notices: Vec<_> = notices
        .map(|n| (n.message.as_str(), n.is_diagnostic))
        .collect();
    assert_eq!(notices, [("n hello", false), ("d", true)]);
}

#[test]
fn mistakes_of_directives_are_told() {
    let (tree, _) = read_for(
        ".else\n.endif\n.elif 1\n.foo\n.alert \"bad $A\"\n.warning w\n.notice a b\n.if foo\n.elif 1\n.else\n\
         .else\n.elif 1\n.endif\n.if 0\n \"x\n.endif\n.if 1\n",
    );
    let messages: Vec<_> = tree.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        messages,
        [
            "t:1:1: error: lone '.else' with no matching '.if'",
            "t:2:1: error: lone '.endif' with no matching '.if'",
            "t:3:1: error: lone '.elif' with no matching '.if'",
            "t:4:1: error: unknown directive '.foo'",
            "t:5:1: error: 'bad hello'",
            "t:6:1: warning: 'w'",
            "t:7:1: error: Unexpected argument 'b' for '.notice'; Use quotes if the message should contain spaces",
            "t:8:1: error: unparsable conditional expression 'foo' in '.if' at position 1",
            "t:11:1: error: '.else' after '.else' is not permitted",
            "t:12:1: error: '.elif' after '.else' is not permitted",
            "t:15:2: error: unmatched quote",
            "t:17:1: error: non-terminated '.if' block",
        ]
    );
}

#[test]
fn files_are_told_of_each_other() {
    let folder = std::env::temp_dir().join(format!("clearway-cfg-run-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in [
        ("2.cfg", "backend \"b$X\"\n"),
        ("1.cfg", "global\n setenv X two\n"),
        (".x.cfg", "peers p\n"),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let mut environment = environment();
    let tree = read_files_for(std::slice::from_ref(&folder), &mut environment);
    std::fs::remove_dir_all(&folder).unwrap();
    let heads: Vec<_> = tree.sections.iter().map(Section::title).collect();
    assert_eq!(heads, ["global", "btwo"]);
    let files = environment.variable("HAPROXY_CFGFILES").unwrap();
    assert!(
        files.ends_with("2.cfg") && files.contains("1.cfg;"),
        "{files}"
    );
}

proptest! {
    #[test]
    fn nothing_makes_it_fail(text in "(global\n|[ .\\\\'\"$\\{\\}\\[\\]()*!&|#x0-9a\n-]|\\.if |\\.else\n|\\.endif\n|setenv |\"\\$\\{A){0,60}") {
        let (tree, environment) = read_for(&text);
        for found in &tree.diagnostics {
            prop_assert!(found.line >= 1);
        }
        // Whatever it is, it has an answer or a reason.
        drop(environment.holds(&text));
    }
}
