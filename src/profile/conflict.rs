//! Two resources that want one thing differently.

use std::collections::BTreeMap;

use crate::diagnostic::Diagnostic;
use crate::resource::{Claim, Resource};
use crate::source::Place;

/// A resource, and when and where it is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub(crate) resource: &'a Resource,
    /// Its `when`, as long as that is not decided.
    pub(crate) when: Option<&'a str>,
    pub(crate) place: &'a Place,
}

/// Every conflict between resources that can hold at the same time: those with an equal `when`, or of which one has
/// none.
pub(crate) fn between<'a>(wishes: impl Iterator<Item = Wish<'a>>) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut by_thing: BTreeMap<(String, &str), Vec<(String, Wish<'_>)>> = BTreeMap::new();
    for wish in wishes {
        for claim in wish.resource.claims() {
            let others = by_thing.entry((claim.subject.clone(), claim.aspect)).or_default();
            let meets = |other: &Wish<'_>| wish.when.is_none() || other.when.is_none() || wish.when == other.when;
            let differs = others.iter().find(|(value, other)| *value != claim.value && meets(other));
            if let Some((value, first)) = differs {
                let conflict = report(&claim, wish.place, value, first.place);
                // Two files that differ in content mostly differ in more: said once.
                if !found.iter().any(|known| is_between_the_same(known, &conflict)) {
                    found.push(conflict);
                }
            }
            others.push((claim.value, wish));
        }
    }
    found
}

fn is_between_the_same(one: &Diagnostic, other: &Diagnostic) -> bool {
    let first = |diagnostic: &Diagnostic| diagnostic.related.first().map(|(place, _)| place.clone());
    one.place == other.place && first(one) == first(other)
}

fn report(claim: &Claim, place: &Place, first_value: &str, first: &Place) -> Diagnostic {
    let Claim { subject, aspect, value } = claim;
    Diagnostic::at(place.clone(), format!("conflict: two resources want {subject} differently"))
        .label(format!("{aspect}: {}", short(value)))
        .related(first.clone(), format!("{aspect}: {}", short(first_value)))
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
