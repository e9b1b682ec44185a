//! Messages about profiles and layers, in the manner of rustc: the place, the line itself, a caret, help.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::source::Place;

/// How many characters of a message are shown.
const LONGEST: usize = 1000;

/// One error in a profile or layer.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// What is wrong, in one line.
    pub message: String,
    /// Where; absent for values that come from no file (`--param`, user-data).
    pub place: Option<Place>,
    /// What to say beside the caret.
    pub label: String,
    /// Other places that play a part, each with what it says there.
    pub related: Vec<(Place, String)>,
    /// What to do about it.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn at(place: Place, message: impl Into<String>) -> Self {
        Self { place: Some(place), ..Self::nowhere(message) }
    }

    /// An error that no file holds.
    pub fn nowhere(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, label: String::new(), related: Vec::new(), help: Vec::new() }
    }

    /// With words beside the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// With another place shown.
    pub fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push((place, label.into()));
        self
    }

    /// With a help line.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// With a help line, if there is something to suggest.
    pub fn help_if(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    fn group(&self) -> Group<'_> {
        // Names are quoted, and a hostile one is as long as a file.
        let (end, _) = self.message.char_indices().nth(LONGEST).unwrap_or((self.message.len(), ' '));
        let mut group = Group::with_title(Level::ERROR.primary_title(&self.message[..end]));
        let primary = self.place.iter().map(|place| (place, &*self.label, AnnotationKind::Primary));
        let related = self.related.iter().map(|(place, label)| (place, &**label, AnnotationKind::Context));
        let mut annotations: Vec<_> = primary.chain(related).collect();
        while let Some((first, ..)) = annotations.first().copied() {
            let (here, elsewhere) = annotations.into_iter().partition(|(place, ..)| place.file == first.file);
            let here: Vec<_> = here;
            let snippet = Snippet::source(&*first.file.text).path(&*first.file.path);
            group = group.element(
                snippet.annotations(here.iter().map(|(place, label, kind)| kind.span(visible(place)).label(*label))),
            );
            annotations = elsewhere;
        }
        self.help.iter().fold(group, |group, help| group.element(Level::HELP.message(&**help)))
    }
}

/// The part of a place that a caret can show: a table's span is cut to its first line, an empty one made a character.
fn visible(place: &Place) -> std::ops::Range<usize> {
    let text = &place.file.text;
    let start = place.span.start.min(text.len());
    let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    start..place.span.end.clamp(start, line_end.max(start))
}

/// All errors found in one go; never empty.
#[derive(Clone, Debug)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// More than anybody reads at once; looking for more would only take time.
    pub const ENOUGH: usize = 200;

    /// How many are shown.
    const SHOWN: usize = 50;

    /// `Ok` when nothing was found; else the first [`Self::ENOUGH`].
    ///
    /// # Errors
    /// Something was found.
    pub fn none_in(mut found: Vec<Diagnostic>) -> Result<(), Self> {
        found.truncate(Self::ENOUGH);
        if found.is_empty() { Ok(()) } else { Err(Self(found)) }
    }

    /// The text for people, with colours or without.
    pub fn render(&self, colours: bool) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        let mut text: Vec<String> = self.0.iter().take(Self::SHOWN).map(|d| renderer.render(&[d.group()])).collect();
        let hidden = self.0.len().saturating_sub(Self::SHOWN);
        text.extend((hidden > 0).then(|| format!("and {hidden} more")));
        let plural = match self.0.len() {
            1 => "",
            Self::ENOUGH.. => "s or more",
            _ => "s",
        };
        text.push(format!("{} error{plural}", self.0.len()));
        // The renderer leaves these in, and terminals take them for escape sequences as they do ESC.
        text.join("\n\n").replace(|c| matches!(c, '\u{80}'..='\u{9f}'), "\u{fffd}")
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Self(vec![one])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}
