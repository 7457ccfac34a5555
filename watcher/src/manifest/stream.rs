//! The documents of a file, found before anything is parsed: one that is broken must not take the others with it.

/// One document of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Document<'a> {
    /// Its text, with the `---` line that opens it.
    pub(crate) text: &'a str,
    /// The line of the file on which the text begins, from 1.
    pub(crate) first_line: u32,
}

/// The documents of a YAML stream that hold more than comments.
pub(crate) fn split(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let mut start = (0, 1);
    let mut offset = 0;
    let mut blank = true;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let end = is_marker(line, "...");
        if end || is_marker(line, "---") {
            if !blank {
                documents.push(Document { text: &text[start.0..offset], first_line: start.1 });
            }
            // The line after an end marker begins a document; a start marker belongs to its own.
            start = if end { (offset + line.len(), number + 1) } else { (offset, number) };
            blank = end || is_blank(&line[3..]);
        } else {
            blank &= is_blank(line) || line.starts_with('%');
        }
        offset += line.len();
    }
    if !blank {
        documents.push(Document { text: &text[start.0..], first_line: start.1 });
    }
    documents
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

fn is_blank(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(u32, &str)> {
        split(text).into_iter().map(|document| (document.first_line, document.text)).collect()
    }

    #[test]
    fn splits_at_markers_and_leaves_out_empty_documents() {
        assert_eq!(lines("a: 1\n---\nb: 2\n"), [(1, "a: 1\n"), (2, "---\nb: 2\n")]);
        assert_eq!(lines("# only\n---\n---\n\n--- # x\nb: 2"), [(5, "--- # x\nb: 2")]);
        assert_eq!(lines("a: 1\n...\n# end\n"), [(1, "a: 1\n")]);
        assert_eq!(lines("%YAML 1.2\n---\na: 1\r\n---\r\nb: 1"), [(2, "---\na: 1\r\n"), (4, "---\r\nb: 1")]);
        assert_eq!(lines("--- {a: 1}\n"), [(1, "--- {a: 1}\n")]);
        assert!(lines("").is_empty());
    }

    #[test]
    fn a_marker_inside_text_is_no_marker() {
        assert_eq!(lines("a: |\n  ---\nb: 1\n---x: 2\n").len(), 1);
    }
}
