//! Images: from what the admin calls them to an id, at each launch, remembered for some minutes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::answers::{ImageItem, Images, ParameterAnswer};
use super::api::{Api, Call, Query, Service};
use super::buckets::Kind;
use super::config::{ImageName, Pool};
use super::error::CallError;
use crate::provider::{ErrorKind, ProviderError};

/// A new image is used that soon; a hundred launches ask once.
const FRESH: Duration = Duration::from_secs(300);

/// What a launch needs to know of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// `ami-…`
    pub id: String,
    /// `/dev/xvda`
    pub root_device: Option<String>,
}

/// What was found lately, and when.
#[derive(Debug, Default)]
pub(super) struct ImageCache(RefCell<BTreeMap<Wanted, (Instant, Image)>>);

/// A name, and an architecture.
type Wanted = (ImageName, &'static str);

impl ImageCache {
    /// The image of a pool.
    pub async fn resolve(&self, api: &Api, pool: &Pool) -> Result<Image, ProviderError> {
        let architecture = pool.architecture().map_err(refused)?;
        let key = (pool.image.clone(), architecture);
        let known = self.0.borrow().get(&key).filter(|(at, _)| at.elapsed() < FRESH).map(|(_, image)| image.clone());
        if let Some(image) = known {
            return Ok(image);
        }
        let image = look_up(api, &pool.image, architecture).await?;
        self.0.borrow_mut().insert(key, (Instant::now(), image.clone()));
        Ok(image)
    }

    /// It turned out to be gone.
    pub fn forget(&self, image: &Image) {
        self.0.borrow_mut().retain(|_, (_, known)| known != image);
    }
}

async fn look_up(api: &Api, name: &ImageName, architecture: &str) -> Result<Image, ProviderError> {
    let query = Query::new("DescribeImages");
    let query = match name {
        ImageName::Id(id) => query.with("ImageId.1", id),
        ImageName::Parameter(path) => query.with("ImageId.1", parameter(api, path).await?),
        ImageName::Newest { owner, name } => query
            .with("Owner.1", owner)
            .with_filter(1, "name", name)
            .with_filter(2, "architecture", architecture)
            .with_filter(3, "state", "available"),
    };
    let found: Images = api.ask(&query.counted_as(Kind::Look)).await?;
    let image = newest(found.images_set.items).ok_or_else(|| none(name, architecture, api.region()))?;
    match image.architecture {
        Some(other) if other != architecture => Err(refused(format!(
            "image {} is {other}, and the instance types of the pool are {architecture}: name another image, or other types",
            image.image_id
        ))),
        _ => Ok(Image { id: image.image_id, root_device: image.root_device_name }),
    }
}

/// Dates are as ISO 8601 has them: they sort as text.
fn newest(images: Vec<ImageItem>) -> Option<ImageItem> {
    images.into_iter().max_by(|a, b| (&a.creation_date, &a.image_id).cmp(&(&b.creation_date, &b.image_id)))
}

async fn parameter(api: &Api, path: &str) -> Result<String, ProviderError> {
    let body = serde_json::json!({ "Name": path }).to_string();
    let call = Call { name: "GetParameter", service: Service::Ssm, kind: Kind::Look, body };
    let answer: Result<ParameterAnswer, CallError> = api.ask_json(&call).await;
    match answer {
        Ok(answer) if answer.parameter.value.starts_with("ami-") => Ok(answer.parameter.value),
        Ok(_) => Err(refused(format!("the parameter {path} holds no id of an image"))),
        Err(error) if error.refusal().is_some_and(|it| it.code == "ParameterNotFound") => {
            Err(refused(format!("there is no parameter {path} in {}: correct `image` of the pool", api.region())))
        }
        Err(error) => Err(error.into()),
    }
}

fn none(name: &ImageName, architecture: &str, region: &str) -> ProviderError {
    refused(match name {
        ImageName::Id(id) => format!("there is no image {id} in {region}: correct `image` of the pool"),
        ImageName::Parameter(path) => format!("the image that the parameter {path} names is not there in {region}"),
        ImageName::Newest { owner, name } => {
            format!(
                "no image of owner {owner} has a name like {name} for {architecture} in {region}: correct `image` of the pool"
            )
        }
    })
}

fn refused(message: String) -> ProviderError {
    ProviderError { kind: ErrorKind::Refused, message }
}
