//! What EC2 answers: XML, of which only what is needed is read. What is unknown is skipped.

use serde::Deserialize;

/// `<set><item>…</item>…</set>`
#[derive(Debug, Deserialize)]
pub(super) struct Set<T> {
    #[serde(rename = "item", default = "Vec::new")]
    pub items: Vec<T>,
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

/// Of an error.
#[derive(Debug, Deserialize)]
pub(super) struct Errors {
    #[serde(rename = "Errors", alias = "Error")]
    pub errors: ErrorSet,
}

#[derive(Debug, Deserialize)]
pub(super) struct ErrorSet {
    #[serde(rename = "Error")]
    pub error: Error,
}

#[derive(Debug, Deserialize)]
pub(super) struct Error {
    #[serde(rename = "Code")]
    pub code: String,
    #[serde(rename = "Message", default)]
    pub message: String,
}

/// Of RunInstances.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reservation {
    #[serde(default)]
    pub instances_set: Set<Item>,
}

/// Of DescribeInstances.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reservations {
    #[serde(default)]
    pub reservation_set: Set<Reservation>,
    #[serde(default)]
    pub next_token: Option<String>,
}

/// An instance.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    pub instance_id: String,
    pub instance_state: State,
    #[serde(default)]
    pub image_id: Option<String>,
    #[serde(default)]
    pub instance_type: Option<String>,
    #[serde(default)]
    pub instance_lifecycle: Option<String>,
    #[serde(default)]
    pub private_ip_address: Option<String>,
    #[serde(default)]
    pub ip_address: Option<String>,
    #[serde(default)]
    pub placement: Placement,
    /// The `StateTransitionReason`.
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub state_reason: Option<StateReason>,
    #[serde(default)]
    pub tag_set: Set<Tag>,
}

impl Item {
    /// The value of a tag.
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tag_set.items.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str())
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct State {
    pub name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Placement {
    #[serde(default)]
    pub availability_zone: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct StateReason {
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    pub message: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Tag {
    pub key: String,
    #[serde(default)]
    pub value: String,
}

/// Of DescribeImages.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Images {
    #[serde(default)]
    pub images_set: Set<ImageItem>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImageItem {
    pub image_id: String,
    #[serde(default)]
    pub architecture: Option<String>,
    #[serde(default)]
    pub creation_date: Option<String>,
    #[serde(default)]
    pub root_device_name: Option<String>,
}

/// Of GetConsoleOutput.
#[derive(Debug, Deserialize)]
pub(super) struct Console {
    /// In base64.
    #[serde(default)]
    pub output: Option<String>,
}

/// Of GetParameter, which speaks JSON.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ParameterAnswer {
    pub parameter: Parameter,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Parameter {
    pub value: String,
}

/// An error of a service that speaks JSON.
#[derive(Debug, Deserialize)]
pub(super) struct JsonError {
    /// `com.amazonaws.ssm#ParameterNotFound`, or without what is before `#`.
    #[serde(rename = "__type")]
    pub kind: String,
    #[serde(default)]
    pub message: Option<String>,
    /// Some services write it like this.
    #[serde(rename = "Message", default)]
    pub other_message: Option<String>,
}
