//! What AWS, or the way there, had against a call, and what follows from it.

use std::fmt;
use std::time::Duration;

use super::credentials::NoCredentials;
use crate::provider::{ErrorKind, ProviderError};

/// Longer words than these are cut: AWS appends kilobytes of encoded details to some.
const WORDS: usize = 500;

/// After so long a region's buckets have what a call needs again.
const THROTTLED: Duration = Duration::from_secs(5);

/// A call that has failed, for good.
#[derive(Clone, Debug)]
pub(super) struct CallError {
    /// `RunInstances`.
    pub call: &'static str,
    /// Where it was made.
    pub url: String,
    /// Whether it was one that changes something, and a try of it may have been heard.
    pub doubt: bool,
    /// Why.
    pub cause: Cause,
}

/// Why a call has failed.
#[derive(Clone, Debug)]
pub(super) enum Cause {
    /// It was not made: nobody to sign it.
    Credentials(NoCredentials),
    /// It was not made: too many others wait.
    Busy(Duration),
    /// It was not made: nobody there.
    Connect(String),
    /// It was made, and there is no answer, or none that says what happened.
    Lost(String),
    /// It was answered.
    Answered(Refusal),
}

/// An error of AWS's.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// `InsufficientInstanceCapacity`
    pub code: String,
    /// AWS's words.
    pub words: String,
}

/// There is no room now: of this type, in this zone, or for this account.
const CAPACITY: [&str; 14] = [
    "InstanceLimitExceeded",
    "InsufficientAddressCapacity",
    "InsufficientCapacity",
    "InsufficientFreeAddressesInSubnet",
    "InsufficientHostCapacity",
    "InsufficientInstanceCapacity",
    "InsufficientReservedInstanceCapacity",
    "InsufficientVolumeCapacity",
    "MaxSpotInstanceCountExceeded",
    "SpotMaxPriceTooLow",
    "UnfulfillableCapacity",
    "VcpuLimitExceeded",
    "VolumeLimitExceeded",
    "NetworkInterfaceLimitExceeded",
];

/// Not here, or not in this combination: another type or zone may do.
const UNSUPPORTED: [&str; 3] = ["Unsupported", "UnsupportedOperation", "InstanceTypeNotSupported"];

const THROTTLING: [&str; 6] = [
    "BandwidthLimitExceeded",
    "RequestLimitExceeded",
    "RequestThrottled",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// Credentials that have ended; whatever provides them may have newer ones.
const EXPIRED: [&str; 3] = ["ExpiredToken", "ExpiredTokenException", "RequestExpired"];

/// Not known here: perhaps replaced by newer ones, perhaps the signature is off since a clock is.
const UNKNOWN_KEY: [&str; 9] = [
    "AuthFailure",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "RequestInTheFuture",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

const FORBIDDEN: [&str; 4] =
    ["AccessDenied", "AccessDeniedException", "Client.UnauthorizedOperation", "UnauthorizedOperation"];

/// AWS's own troubles, whatever status they come with.
const INTERNAL: [&str; 5] =
    ["InternalError", "InternalFailure", "InternalServerError", "ServiceUnavailable", "Unavailable"];

impl Refusal {
    pub fn new(code: &str, words: &str) -> Self {
        let words = words.split(" Encoded authorization failure message").next().unwrap_or_default();
        let words = words.chars().filter(|c| !c.is_control()).take(WORDS).collect();
        Self { code: code.chars().filter(|c| !c.is_control()).take(100).collect(), words }
    }

    fn is(&self, codes: &[&str]) -> bool {
        codes.contains(&self.code.as_str())
    }

    /// The next rung of the ladder may do.
    pub fn is_of_the_rung(&self) -> bool {
        self.is(&CAPACITY) || self.is(&UNSUPPORTED)
    }

    /// Another time it may do.
    pub fn is_capacity(&self) -> bool {
        self.is(&CAPACITY)
    }

    pub fn is_throttling(&self) -> bool {
        self.is(&THROTTLING)
    }

    /// Better credentials, or a better clock, may do.
    pub fn is_about_the_signature(&self) -> bool {
        self.is(&EXPIRED) || self.is(&UNKNOWN_KEY)
    }

    /// It says nothing about whether the thing was done.
    pub fn is_internal(&self) -> bool {
        self.is(&INTERNAL)
    }

    fn kind(&self) -> ErrorKind {
        if self.is(&CAPACITY) {
            ErrorKind::Capacity
        } else if self.is(&THROTTLING) {
            ErrorKind::Throttled(THROTTLED)
        } else if self.is(&EXPIRED) {
            ErrorKind::Unreachable // until there are newer ones
        } else if self.is(&["IdempotentParameterMismatch"]) {
            ErrorKind::Unknown // what was started under this token is there
        } else {
            ErrorKind::Refused
        }
    }

    /// What to do, for whoever reads it.
    fn help(&self, call: &str) -> Option<String> {
        let help = match self.code.as_str() {
            _ if self.is(&FORBIDDEN) => {
                return Some(format!("allow {} to these credentials, as docs/iam-policy.json does", self.action(call)));
            }
            _ if self.is(&EXPIRED) => "the credentials have ended, and no newer ones are found; renew them",
            "AuthFailure" | "InvalidClientTokenId" | "InvalidAccessKeyId" | "UnrecognizedClientException" => {
                "the access key is not known there, or its secret is wrong: see which credentials the driver finds (`aws sts get-caller-identity`)"
            }
            _ if self.is(&UNKNOWN_KEY) => "the secret does not fit the access key, or a proxy changes requests",
            "InvalidAMIID.NotFound" | "InvalidAMIID.Malformed" | "InvalidAMIID.Unavailable" => {
                "images are per region: name the pool's `image` by an ssm: parameter or by owner and name"
            }
            "InvalidSubnetID.NotFound" | "InvalidSubnet" => "correct `subnets` of the pool",
            "InvalidGroup.NotFound" | "InvalidGroupId.Malformed" | "InvalidSecurityGroupID.NotFound" => {
                "correct `security_groups` of the pool: ids, of the network of its subnets"
            }
            "InvalidInstanceType" => "correct `instance_types` of the pool",
            "InvalidBlockDeviceMapping" => "`disk` of the pool must be at least as large as the image's",
            "InvalidIamInstanceProfileArn.NotFound" => "correct `instance_profile` of the pool",
            "VcpuLimitExceeded" | "InstanceLimitExceeded" | "MaxSpotInstanceCountExceeded" => {
                "ask AWS for a higher quota, or lower `max` of the pool"
            }
            _ => return None,
        };
        Some(help.to_owned())
    }

    /// The permission that is missing: AWS names it, except where older services do not.
    fn action(&self, call: &str) -> String {
        let named =
            self.words.split("not authorized to perform: ").nth(1).and_then(|rest| rest.split_whitespace().next());
        match named {
            Some(action) => action.trim_end_matches(['.', ',']).to_owned(),
            None if call == "GetParameter" => "ssm:GetParameter".to_owned(),
            None => format!("ec2:{call}"),
        }
    }
}

impl CallError {
    /// The answer, where there was one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.cause {
            Cause::Answered(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// What follows.
    pub fn kind(&self) -> ErrorKind {
        let kind = match &self.cause {
            Cause::Credentials(none) if none.absent => ErrorKind::Refused,
            Cause::Credentials(_) | Cause::Connect(_) | Cause::Lost(_) => ErrorKind::Unreachable,
            Cause::Busy(wait) => ErrorKind::Throttled(*wait),
            Cause::Answered(refusal) => refusal.kind(),
        };
        let definite = matches!(kind, ErrorKind::Capacity | ErrorKind::Refused);
        if self.doubt && !definite { ErrorKind::Unknown } else { kind }
    }

    fn help(&self) -> Option<String> {
        match &self.cause {
            Cause::Credentials(_) => Some(
                "give the driver credentials as for AWS's tools: a role of this instance, AWS_ACCESS_KEY_ID, or `aws_profile` of the provider"
                    .to_owned(),
            ),
            Cause::Answered(refusal) => refusal.help(self.call),
            _ => None,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, url, .. } = self;
        match &self.cause {
            Cause::Credentials(none) => write!(f, "{call}: no credentials: {}", none.words)?,
            Cause::Busy(wait) => {
                write!(f, "{call}: AWS's limit of requests is used up for {:.0} s", wait.as_secs_f64())?
            }
            Cause::Connect(words) => write!(f, "{call}: {url} cannot be reached: {words}")?,
            Cause::Lost(words) => write!(f, "{call}: no answer of {url} says what happened: {words}")?,
            Cause::Answered(refusal) => write!(f, "{call}: {}: {}", refusal.code, refusal.words)?,
        }
        match self.help() {
            Some(help) => write!(f, " (help: {help})"),
            None => Ok(()),
        }
    }
}

impl From<CallError> for ProviderError {
    fn from(error: CallError) -> Self {
        Self { kind: error.kind(), message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(call: &'static str, code: &str, words: &str) -> CallError {
        let cause = Cause::Answered(Refusal::new(code, words));
        CallError { call, url: "https://ec2.example/".to_owned(), doubt: false, cause }
    }

    #[test]
    fn the_missing_permission_is_named() {
        let words = "You are not authorized to perform this operation. User: arn:aws:iam::1:user/ci is not authorized to perform: ec2:CreateTags on resource: * Encoded authorization failure message: AAAA";
        let message = refused("RunInstances", "UnauthorizedOperation", words).to_string();
        assert!(message.contains("allow ec2:CreateTags to"), "{message}");
        assert!(!message.contains("AAAA"), "{message}");
        let message = refused("DescribeImages", "UnauthorizedOperation", "You are not.").to_string();
        assert!(message.contains("allow ec2:DescribeImages to"), "{message}");
    }

    #[test]
    fn doubt_stays_unless_the_answer_is_definite() {
        let mut error = refused("RunInstances", "RequestLimitExceeded", "");
        assert_eq!(error.kind(), ErrorKind::Throttled(THROTTLED));
        error.doubt = true;
        assert_eq!(error.kind(), ErrorKind::Unknown);
        let error = CallError { doubt: true, ..refused("RunInstances", "VcpuLimitExceeded", "") };
        assert_eq!(error.kind(), ErrorKind::Capacity);
    }
}
