//! Two resources that want one thing differently.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::resource::{Claim, Resource};
use crate::secret::MASK;
use crate::source::Place;

/// A resource, and when and where it is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub(crate) resource: &'a Resource,
    /// Its `when`, as long as that is not decided.
    pub(crate) when: Option<&'a str>,
    pub(crate) place: &'a Place,
    /// There is a secret in it.
    pub(crate) secret: bool,
}

/// What one thing is wanted to be, by the how-manieth wish.
type Wanted<'a> = (usize, String, Wish<'a>);

/// Every conflict between resources that can hold at the same time: those with an equal `when`, or of which one has
/// none.
pub(crate) fn between<'a>(wishes: impl Iterator<Item = Wish<'a>>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    // Two files that differ in content mostly differ in more: said once.
    let mut said: BTreeSet<(String, usize, usize)> = BTreeSet::new();
    let mut by_thing: BTreeMap<(String, &str), Vec<Wanted<'_>>> = BTreeMap::new();
    for (index, wish) in wishes.enumerate() {
        for claim in wish.resource.claims() {
            let others = by_thing.entry((claim.subject.clone(), claim.aspect)).or_default();
            let meets = |other: &Wish<'_>| wish.when.is_none() || other.when.is_none() || wish.when == other.when;
            let differs = others.iter().find(|(_, value, other)| *value != claim.value && meets(other));
            if let Some((first_index, value, first)) = differs
                && said.insert((claim.subject.clone(), *first_index, index))
            {
                found.push(report(&claim, &wish, value, first));
                if found.len() >= Diagnostics::ENOUGH {
                    return found;
                }
            }
            // What is wanted once more in the same words adds nothing.
            if !others.iter().any(|(_, value, other)| *value == claim.value && other.when == wish.when) {
                others.push((index, claim.value, wish));
            }
        }
    }
    found
}

fn report(claim: &Claim, wish: &Wish<'_>, first_value: &str, first: &Wish<'_>) -> Diagnostic {
    let Claim { subject, aspect, value } = claim;
    // A short secret can be guessed from its digest.
    let shown = |value, wish: &Wish<'_>| {
        if wish.secret && ["content", "requirements"].contains(aspect) { MASK.to_owned() } else { short(value) }
    };
    Diagnostic::at(wish.place.clone(), format!("conflict: two resources want {subject} differently"))
        .label(format!("{aspect}: {}", shown(value, wish)))
        .related(first.place.clone(), format!("{aspect}: {}", shown(first_value, first)))
        .help("leave one of them out, make them alike, or let a `when` keep them apart")
}

/// Values may be long; digests of contents say enough by their beginning.
fn short(value: &str) -> String {
    let one_line = value.lines().next().unwrap_or_default();
    if one_line.len() < value.len() || one_line.chars().count() > 40 {
        return format!("{}…", one_line.chars().take(16).collect::<String>());
    }
    one_line.to_owned()
}
