//! Everything that is wrong with a configuration, each mistake with its place and what to do about it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// Why a configuration cannot be used: all of its mistakes at once, in the order of the file.
///
/// [`Display`](fmt::Display) gives plain text, [`Errors::styled`] the same with colours.
#[derive(Debug)]
pub struct Errors {
    path: PathBuf,
    text: String,
    mistakes: Vec<Mistake>,
}

impl std::error::Error for Errors {}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong, the key's full path in it: `` `tls.policy`: … ``.
    pub what: String,
    /// What to do about it; may be empty where the first sentence says it all.
    pub advice: String,
    /// The octets of the file that it is about; none where nothing is written that could be pointed at.
    pub span: Option<Range<usize>>,
}

impl Errors {
    /// `mistakes` is not empty: there would be nothing to say.
    pub(super) fn new(path: &Path, text: &str, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| mistake.span.as_ref().map_or(usize::MAX, |span| span.start));
        // What is quoted of the file may hold controls. The lines of the file itself are cleaned by their renderer, but for those
        // beyond ASCII; what stands in for these is as long as they are.
        let text = text.replace(|letter: char| letter.is_control() && !letter.is_ascii(), "\u{bf}");
        for mistake in &mut mistakes {
            mistake.what = mistake.what.replace(is_control, "?");
            mistake.advice = mistake.advice.replace(is_control, "?");
        }
        Self { path: path.to_owned(), text, mistakes }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The mistakes, in the order of the file.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// The mistake's line and column, both from 1, the column in characters.
    pub fn place(&self, mistake: &Mistake) -> Option<(usize, usize)> {
        let before = self.text.get(..mistake.span.as_ref()?.start)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..)?.chars().count() + 1;
        Some((line, column))
    }

    /// As for `Display`, with ANSI colours.
    pub fn styled(&self) -> String {
        self.render(&Renderer::styled())
    }

    fn render(&self, renderer: &Renderer) -> String {
        let path = self.path.display().to_string();
        let all: Vec<String> =
            self.mistakes.iter().map(|mistake| renderer.render(&[self.group(mistake, &path)])).collect();
        all.join("\n\n")
    }

    fn group<'a>(&'a self, mistake: &'a Mistake, path: &'a str) -> Group<'a> {
        let title = Level::ERROR.primary_title(&mistake.what);
        let group = match &mistake.span {
            Some(span) => {
                // The renderer panics on a span outside the text; the parser points behind the end for "unexpected end".
                let end = span.end.min(self.text.len());
                let span = span.start.min(end)..end;
                title.element(Snippet::source(&self.text).path(path).annotation(AnnotationKind::Primary.span(span)))
            }
            None => title.element(Origin::path(path)),
        };
        if mistake.advice.is_empty() { group } else { group.element(Level::HELP.message(&mistake.advice)) }
    }
}

fn is_control(letter: char) -> bool {
    letter.is_control() && letter != '\n'
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}
