//! Which layers a profile has, each once: what a layer requires comes before it, otherwise as written.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::library::Library;
use crate::names::LayerName;
use crate::source::Place;
use crate::suggest::did_you_mean;
use crate::written::Layer;

/// A chain of `requires` that is longer than people make them; the walk below is as deep as the chain.
const LONGEST_CHAIN: usize = 64;

/// More resources than all layers of a profile have.
const MOST_RESOURCES: usize = 10_000;

/// More parameters than they declare.
const MOST_PARAMS: usize = 10_000;

/// More layers than a profile has.
const MOST_LAYERS: usize = 1000;

/// The layers that `roots` name and pull in, in order; on error, everything that is wrong with them as written.
pub(crate) fn order<'l>(library: &'l Library, roots: &[(LayerName, Place)]) -> Result<Vec<Layer<'l>>, Diagnostics> {
    let mut walk = Walk {
        library,
        states: BTreeMap::new(),
        path: Vec::new(),
        ordered: Vec::new(),
        found: Vec::new(),
        resources: 0,
        params: 0,
    };
    for (name, place) in roots {
        walk.visit(name, place);
    }
    Diagnostics::none_in(walk.found).map(|()| walk.ordered)
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Done,
}

struct Walk<'l> {
    library: &'l Library,
    states: BTreeMap<LayerName, State>,
    /// The chain of layers that are open, each with the place that named it.
    path: Vec<(LayerName, Place)>,
    ordered: Vec<Layer<'l>>,
    found: Vec<Diagnostic>,
    resources: usize,
    params: usize,
}

impl<'l> Walk<'l> {
    fn visit(&mut self, name: &LayerName, named_at: &Place) {
        match self.states.get(name) {
            Some(State::Done) => {}
            Some(State::Open) => self.report_cycle(name, named_at),
            None if self.path.len() >= LONGEST_CHAIN || self.states.len() >= MOST_LAYERS => self.report_size(
                format!("too many layers: at most {MOST_LAYERS}, and {LONGEST_CHAIN} that require one another"),
                named_at,
            ),
            None => self.enter(name, named_at),
        }
    }

    fn enter(&mut self, name: &LayerName, named_at: &Place) {
        self.states.insert(name.clone(), State::Open);
        self.path.push((name.clone(), named_at.clone()));
        match self.library.layer(name).map(|file| Layer::parse(name.clone(), file)) {
            None => self.report_unknown(name, named_at),
            Some(Err(found)) => self.found.extend(found.0),
            Some(Ok(layer)) => {
                for (required, place) in &layer.requires {
                    self.visit(required, place);
                }
                self.resources += layer.resources.len();
                self.params += layer.params.len();
                if self.resources > MOST_RESOURCES || self.params > MOST_PARAMS {
                    self.report_size(
                        format!(
                            "too much: at most {MOST_RESOURCES} resources and {MOST_PARAMS} parameters in a profile"
                        ),
                        named_at,
                    );
                }
                self.ordered.push(layer);
            }
        }
        self.path.pop();
        self.states.insert(name.clone(), State::Done);
    }

    fn report_unknown(&mut self, name: &LayerName, named_at: &Place) {
        let help = did_you_mean(name.as_str(), self.library.layers())
            .unwrap_or_else(|| format!("a layer `{name}` would be the file `layers/{name}.toml`"));
        self.found.push(Diagnostic::at(named_at.clone(), format!("there is no layer `{name}`")).help(help));
    }

    /// Said once: all that follows is too much for the same reason.
    fn report_size(&mut self, message: String, named_at: &Place) {
        if !self.found.iter().any(|known| known.message == message) {
            self.found.push(Diagnostic::at(named_at.clone(), message).help("is that a profile?"));
        }
    }

    fn report_cycle(&mut self, name: &LayerName, named_at: &Place) {
        let start = self.path.iter().position(|(open, _)| open == name).unwrap_or(0);
        let chain: Vec<_> = self.path[start..].iter().map(|(name, _)| name.as_str()).chain([name.as_str()]).collect();
        let mut cycle = Diagnostic::at(named_at.clone(), format!("layers require each other: {}", chain.join(" -> ")))
            .label(format!("`{name}` is on the way here already"))
            .help("move what both need into a third layer that both require");
        for (_, place) in self.path.iter().skip(start + 1) {
            cycle = cycle.related(place.clone(), "required here");
        }
        self.found.push(cycle);
    }
}
