use super::*;
use crate::diagnostic::Sources;

fn node(text: &str) -> Node {
    parse(FileId(0), text.as_bytes()).unwrap_or_else(|found| panic!("{text:?}: {found:#?}"))
}

/// `code line:column reason` of each diagnostic.
fn refused(text: &str) -> Vec<String> {
    let found = parse(FileId(0), text.as_bytes()).expect_err(text);
    let line = |d: &&Diagnostic| {
        let at = d.at.unwrap();
        format!("{} {}:{} {}", d.code, at.line, at.column, d.reason)
    };
    found.sorted().iter().map(line).collect()
}

fn rendered(text: &str) -> String {
    let mut sources = Sources::new();
    sources.add("gateway.yaml", text);
    parse(FileId(0), text.as_bytes()).unwrap_err().render(&sources)
}

/// The tree as JSON-like text, with plain scalars bare.
fn shape(node: &Node) -> String {
    match &node.value {
        Value::Null => "~".into(),
        Value::Scalar(scalar) if scalar.plain => scalar.text.clone(),
        Value::Scalar(scalar) => format!("{:?}", scalar.text),
        Value::Sequence(items) => {
            format!("[{}]", items.iter().map(shape).collect::<Vec<_>>().join(", "))
        }
        Value::Mapping(mapping) => {
            let entry = |entry: &Entry| format!("{}: {}", entry.key, shape(&entry.value));
            format!("{{{}}}", mapping.entries().iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

fn position(text: &str, path: &str) -> (u32, u32, u32) {
    let node = node(text);
    let place = node.at(&super::super::parse_path(path));
    assert!(place.exact, "{path} in {text:?}");
    let span = place.node.span;
    (span.line, span.column, span.length)
}

#[test]
fn a_document_becomes_a_tree() {
    for (text, expected) in [
        ("a: 1\nb:\n  - x\n  - y: 'z'\n", "{a: 1, b: [x, {y: \"z\"}]}"),
        ("a:\nb: ~\nc: null\nd: 'null'\ne: \"\"\n", "{a: ~, b: ~, c: ~, d: \"null\", e: \"\"}"),
        ("1: a\ntrue: b\nGET: c\n'x y': d\n", "{1: a, true: b, GET: c, x y: d}"),
        ("a: {b: [1, 2], c: }\nd: {}\ne: []\n", "{a: {b: [1, 2], c: ~}, d: {}, e: []}"),
        ("a: |\n  x\n  y\nb: >-\n  x\n  y\n", "{a: \"x\\ny\\n\", b: \"x y\"}"),
        ("a: x # not text\nb: \"#y\" # nor this\n", "{a: x, b: \"#y\"}"),
        ("a: https://x/?y=z&u#v\nb: a:b\nc: -x\n", "{a: https://x/?y=z&u#v, b: a:b, c: -x}"),
        ("---\na: 1\n...\n", "{a: 1}"),
        ("- a\n- - b\n  -\n", "[a, [b, ~]]"),
        ("a:\n- x\n- y\n", "{a: [x, y]}"),
        ("a: one\n  two\n\n  three\n", "{a: one two\nthree}"),
    ] {
        assert_eq!(shape(&node(text)), expected, "{text}");
    }
}

#[test]
fn windows_line_breaks_and_a_byte_order_mark_change_nothing() {
    let text = "\u{feff}a: 1\r\nb:\r\n  - x\r\n  - |\r\n    y\r\n    z\r\n";
    assert_eq!(shape(&node(text)), "{a: 1, b: [x, \"y\\nz\\n\"]}");
    assert_eq!(position(text, "b[0]"), (3, 5, 1));
    assert_eq!(refused("\u{feff}a: 1\r\na: 2\r\n").len(), 1);
}

#[test]
fn every_value_knows_its_place() {
    let text = "a: abc # c\nb: \"d\\\"e\"   # \"f\"\nc: 'g''h'\nd: {e: [1, 22]}\nf:\n  g: h\ni:\n  - j\nk:\n";
    for (path, expected) in [
        ("", (1, 1, 1)),
        ("a", (1, 4, 3)),
        ("b", (2, 4, 6)),
        ("c", (3, 4, 6)),
        ("d", (4, 4, 1)),
        ("d.e", (4, 8, 1)),
        ("d.e[1]", (4, 12, 2)),
        ("f", (6, 3, 1)),
        ("i", (8, 3, 1)),
        ("i[0]", (8, 5, 1)),
        ("k", (9, 1, 1)),
    ] {
        assert_eq!(position(text, path), expected, "{path}");
    }
    assert_eq!(position("é: \"日本\" # x", "[\"é\"]"), (1, 4, 4));
    assert_eq!(position("a: \"x\n  y\"\n", "a"), (1, 4, 2));
    assert_eq!(position("a: x  \n  y\n", "a"), (1, 4, 1));
    assert_eq!(position("a: |\n  x y \n  z\n", "a"), (2, 3, 3));
}

#[test]
fn a_document_in_brackets_keeps_its_places() {
    let text = "# c\n\n  {\"a\": 1,\n\"b\": [\n\t{\"c\": 2}]}\n";
    assert_eq!(position(text, ""), (3, 3, 1));
    assert_eq!(position(text, "a"), (3, 9, 1));
    assert_eq!(position(text, "b"), (4, 6, 1));
    assert_eq!(position(text, "b[0].c"), (5, 8, 1));
    assert_eq!(position("{\"a\": 1}", "a"), (1, 7, 1));
    assert_eq!(
        refused("{\"a\": 1, \"a\": 2}"),
        ["config.duplicate_key 1:10 the key `a` is written twice; first on line 1"]
    );
}

#[test]
fn json_is_accepted_as_it_is() {
    let text = r#"{"a":1,"b":[true,false,null,-1.5e3,""],"c":{"d":"\u00e9\/\\\"\b\f\n\r\t"},
	"e" : "http://x:1/?a=b#c",
"f":[ ], "g":{ }, "h": "a: b, - c", "i":"", "j":[[1],[{"k":2}]] }
"#;
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(as_json(&node(text)), json);
    let pretty = serde_json::to_string_pretty(&json).unwrap();
    assert_eq!(as_json(&node(&pretty)), json);
    assert_eq!(as_json(&node(&pretty.replace("  ", "\t"))), json);
    assert_eq!(as_json(&node(&json.to_string())), json);
}

fn as_json(node: &Node) -> serde_json::Value {
    let mut found = Diagnostics::new();
    super::super::from_node(node, "", &mut found).unwrap()
}

#[test]
fn a_pair_of_surrogates_is_refused_with_its_remedy() {
    let text = rendered(r#"{"a": "\ud83d\ude00"}"#);
    assert!(
        text.contains("gateway.yaml:1:7") && text.contains("write the character itself"),
        "{text}"
    );
    assert_eq!(shape(&node(r#"{"a": "😀\U0001F600"}"#)), "{a: \"😀😀\"}");
}

#[test]
fn a_key_written_twice_is_an_error_at_the_second() {
    let text = "a: 1\nb: {c: 1, d: 2, c: 3}\na: 2\na: 3\n'a': 4\n";
    assert_eq!(
        refused(text),
        [
            "config.duplicate_key 2:17 the key `c` is written twice; first on line 2",
            "config.duplicate_key 3:1 the key `a` is written twice; first on line 1",
            "config.duplicate_key 4:1 the key `a` is written twice; first on line 1",
            "config.duplicate_key 5:1 the key `a` is written twice; first on line 1",
        ]
    );
    let text = rendered("routes:\n  - x: 1\n    x: 2\n");
    assert!(text.contains("= first written here: gateway.yaml:2:5"), "{text}");
    let found = parse(FileId(0), b"routes:\n  - x: 1\n    x: 2\n").unwrap_err();
    assert_eq!(found.iter().next().unwrap().path, "routes[0].x");
}

#[test]
fn what_yaml_allows_and_a_gateway_must_not_is_refused() {
    for (text, expected) in [
        ("a: *x\n", "config.not_accepted 1:4 aliases are not accepted: repeat the value"),
        ("a: &x 1\n", "config.not_accepted 1:4 anchors (`&`) are not accepted"),
        ("&x a: 1\n", "config.not_accepted 1:1 anchors (`&`) are not accepted"),
        ("a: &x\n  b: 1\n", "config.not_accepted 1:4 anchors (`&`) are not accepted"),
        ("a: !!str 1\n", "config.not_accepted 1:4 tags (`!`) are not accepted"),
        ("a: !x [1]\n", "config.not_accepted 1:4 tags (`!`) are not accepted"),
        ("! a: 1\n", "config.not_accepted 1:1 tags (`!`) are not accepted"),
        ("a:\n  <<: {b: 1}\n", "config.not_accepted 2:3 merge keys (`<<`) are not accepted"),
        (
            "? [a, b]\n: c\n",
            "config.not_accepted 1:3 a key must be plain text, not a list or a mapping",
        ),
        (
            "x: {[a]: c}\n",
            "config.not_accepted 1:5 a key must be plain text, not a list or a mapping",
        ),
        (
            "? {a: b}\n: c\n",
            "config.not_accepted 1:3 a key must be plain text, not a list or a mapping",
        ),
        (": a\n", "config.not_accepted 1:1 a key is empty"),
        ("'': a\n", "config.not_accepted 1:1 a key is empty"),
        ("a: 1\n---\nb: 1\n", "config.not_accepted 2:1 a second document begins here"),
        ("a: 1\n...\nb: 1\n", "config.not_accepted 3:1 a second document begins here"),
        ("--- {a: 1}\n--- {b: 1}\n", "config.not_accepted 2:1 a second document begins here"),
        (
            "# c\n%YAML 1.2\n---\na: 1\n",
            "config.not_accepted 2:1 a directive (`%`) is not accepted",
        ),
    ] {
        assert_eq!(refused(text), [expected], "{text}");
    }
}

#[test]
fn an_item_out_of_line_does_not_become_text() {
    let text = "deny:\n  - curl\n    - wget\n  - x\n";
    let expected = "config.not_accepted 3:5 this item would become part of the text above it";
    assert_eq!(refused(text), [expected]);
    assert_eq!(refused("a: x\n  -\n").len(), 1);
    assert_eq!(shape(&node("a: x\n  -y\n")), "{a: x -y}");
    assert_eq!(shape(&node("a: 'x\n  - y'\n")), "{a: \"x - y\"}");
}

#[test]
fn several_refusals_are_reported_at_once() {
    let found = refused("a: &x 1\nb: *x\nc: !t 1\nd: 1\nd: 2\n");
    let lines: Vec<_> =
        found.iter().map(|line| line.split(' ').take(2).collect::<String>()).collect();
    assert_eq!(
        lines,
        [
            "config.not_accepted1:4",
            "config.not_accepted2:4",
            "config.not_accepted3:4",
            "config.duplicate_key5:1"
        ]
    );
}

#[test]
fn nothing_is_no_document() {
    for text in
        ["", "\n\n", "# only a comment\n", "---\n", "--- ~\n", "null\n", "\u{feff}", "...\n", "\r"]
    {
        assert_eq!(refused(text), ["config.empty 1:1 the file is empty"], "{text:?}");
    }
}

#[test]
fn mistakes_of_syntax_point_at_their_place_and_say_what_helps() {
    for (text, place, help) in [
        ("a: b: c\n", "1:5", "needs quotes"),
        ("a:\n\tb: 1\n", "2:2", "indent with spaces"),
        ("a: 1\nb # x\n\n# y\nc: 2\n", "2:5", "check the `:`"),
        ("a: 1\nb\n", "2:1", "check the `:`"),
        ("a: [1, 2\nb: 3\n", "2:2", "open"),
        ("a: [1, 2\n\n# c\n", "1:8", "open"),
        ("a: \"x\nb: 1\n", "1:4", "not be closed"),
        ("a: 'x\n", "1:4", "not be closed"),
        ("a: \"\\d\"\n", "1:4", "single quotes"),
        ("a: \"x\" y\n", "1:8", "quote the whole"),
        ("a: @x\n", "1:4", "in quotes"),
        ("a: %x\n", "1:4", "in quotes"),
        ("a: - b\n", "1:4", "a line of its own"),
        ("{a: 1}}\n", "1:7", "misplaced bracket"),
        ("{a: 1} b\n", "1:8", "brackets"),
        ("a: 1\n  b: 2\n", "2:4", "needs quotes"),
        ("a:\n    b: 1\n  c: 2\n", "3:3", "in one column"),
        ("a:\n  - b\n  c: 2\n", "3:3", "in one column"),
    ] {
        let shown = rendered(text);
        assert!(shown.starts_with("error[config.syntax]"), "{text:?}: {shown}");
        assert!(shown.contains(&format!("gateway.yaml:{place}")), "{text:?}: {shown}");
        assert!(shown.contains(help), "{text:?}: {shown}");
    }
}

#[test]
fn a_line_with_a_secret_is_not_quoted() {
    for text in
        ["password: hunter2: x\n", "secrets:\n  a: 1\n  a: hunter2\n", "token: &x hunter2\n"]
    {
        let shown = rendered(text);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("<not shown>"), "{shown}");
    }
}

#[test]
fn depth_ends_at_the_limit() {
    let nested = |depth: usize| format!("a: {}{}", "[".repeat(depth), "]".repeat(depth));
    node(&nested(MAX_DEPTH - 1));
    let expected = "config.too_large 1:67 lists and mappings are nested deeper than 64 levels";
    assert_eq!(refused(&nested(MAX_DEPTH)), [expected]);
    let stairs: String = (0..100).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert_eq!(refused(&stairs).len(), 1);
}

#[test]
fn a_long_key_is_refused() {
    let long = |length: usize| format!("{{{}: 1}}\n", "k".repeat(length));
    node(&long(MAX_KEY_BYTES));
    let expected = "config.too_large 1:2 a key is longer than 1024 bytes";
    assert_eq!(refused(&long(MAX_KEY_BYTES + 1)), [expected]);
}

#[test]
fn too_many_values_are_refused() {
    let bounds = Bounds { nodes: 10, ..Bounds::default() };
    let parse = |text: String| parse_within(FileId(0), text.as_bytes(), bounds);
    assert!(parse("- a\n".repeat(9)).is_ok());
    assert!(parse("- a\n".repeat(10)).is_err());
    let found = parse("- a\n".repeat(11)).unwrap_err();
    assert_eq!(found.iter().next().unwrap().reason, "the file holds more than 10 values");
}

#[test]
fn what_the_parser_must_hold_back_is_bounded() {
    let bounds = Bounds { pending: 1_000, ..Bounds::default() };
    let parse = |text: &str| parse_within(FileId(0), text.as_bytes(), bounds);
    for text in [
        format!("- [{}", "a,".repeat(2_000)),
        format!("- [{}]\n", "a,".repeat(2_000)),
        format!("- [{}", "&a ".repeat(2_000)),
        format!("- [{}", "? ".repeat(2_000)),
        format!("- [{}", ": ".repeat(2_000)),
        format!("- [{}", "'a'\n  ".repeat(2_000)),
        format!("a: |\n{}", "  a, b\n".repeat(2_000)),
    ] {
        let found = parse(&text).unwrap_err();
        assert!(found.iter().all(|d| d.reason.contains("too long to be read")), "{found:?}");
    }
    // What cannot be a key is not held back, however long it is.
    for text in [
        format!("a: [{}]\n", "b,".repeat(2_000)),
        format!("[{}]\n", "b,".repeat(2_000)),
        format!(
            "# c\n{{\"a\": [{{}}]{}}}\n",
            (0..500).map(|n| format!(", k{n}: [1, 2]")).collect::<String>()
        ),
        (0..500).map(|n| format!("k{n}: [1, 2, {{ a: b }}]\n")).collect(),
    ] {
        assert!(parse(&text).is_ok(), "{text:.10}");
    }
}

#[test]
fn hostile_input_is_not_followed() {
    let fill = |unit: &str| unit.repeat(20_000 / unit.len());
    let deep = "[".repeat(250);
    let half = "a,".repeat(2_000);
    for unit in [
        "[", "{", "]", "}", "- ", "? ", "-\n", "?\n", ": ", "[a,", "{a: ", "a: ", "a:\n- ", "\"",
        "'", "---\n", "*a ", "&a ", "!a ", "%a\n", "|\n", "a: |\n", "\\", "a: 1\n", "\u{feff}",
        "\t", ",",
    ] {
        let found = parse(FileId(0), fill(unit).as_bytes());
        // Quotes within quotes and text over many lines are odd, but a scalar.
        let odd = matches!(unit, "'" | "\\" | "|\n" | "\t" | "-\n" | "a:\n- ");
        assert!(found.is_err() || odd, "{unit:?}");
    }
    for text in [
        format!("{deep}{half}"),
        format!("- {deep}{half}"),
        format!("- [{half}{deep}{half}{}]", "]:x".repeat(250)),
        format!("{{{}}}", "a: b, ".repeat(5_000)),
        (0..300).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
    ] {
        assert!(parse(FileId(0), text.as_bytes()).is_err(), "{text:.10}");
    }
}

#[test]
fn large_but_honest_input_is_read() {
    let unit = "{\"name\": \"consumer\", \"groups\": [\"gold\"], \"limits\": {\"rate\": 5}},";
    let json = format!("{{\"list\": [{}{{}}]}}", unit.repeat(2_000));
    assert_eq!(node(&json).get("list").map(|list| list.items().len()), Some(2_001));
    let line = format!("a: {}\nb: '{}'\n", "x ".repeat(50_000), "y".repeat(100_000));
    assert_eq!(node(&line).entries().len(), 2);
    let comments = "# x\n".repeat(50_000) + "a: 1\n";
    assert_eq!(position(&comments, "a").0, 50_001);
    let yaml: String = (0..5_000).map(|index| format!("key{index}: {{ a: [b, c] }}\n")).collect();
    assert_eq!(node(&yaml).get("key4999").map(|node| node.entries().len()), Some(1));
}

#[test]
fn no_heap_of_marks_makes_it_panic() {
    let marks = [
        "[", "]", "{", "}", ",", ":", ": ", "- ", "? ", "\n", "\n  ", "a", "'", "\"", "|\n", ">\n",
        "&a ", "*a", "!t ", "---\n", "...\n", "%T x\n", "#", "\t", "\r", "\u{feff}", "é", "~",
        "<<: ", "\\u12", "\u{85}", "\0", "'x'", "\"y\"",
    ];
    // A linear congruential generator (Knuth's MMIX constants): the same heaps every time.
    let mut state = 1_u64;
    let mut next = |bound: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % bound
    };
    let mut accepted = 0;
    for _ in 0..10_000 {
        let length = 1 + next(20);
        let text: String = (0..length).map(|_| marks[next(marks.len())]).collect();
        let mut sources = Sources::new();
        sources.add("x", text.as_str());
        match parse(FileId(0), text.as_bytes()) {
            Ok(_) => accepted += 1,
            Err(found) => assert!(!found.render(&sources).is_empty()),
        }
    }
    assert!(accepted > 20, "{accepted}");
}
