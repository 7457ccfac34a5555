//! Asks the API server whose token a token is (TokenReview).

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::client::Body;
use tokio::time::timeout;

use super::Connection;
use super::request::parse;
use super::trouble::Trouble;

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// How long an answer may take: a client waits for it.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Under which the review's answer has the name of the Pod that a token is bound to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";

/// What the API server says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Review {
    /// It is good.
    Good {
        /// Whose it is, such as `system:serviceaccount:shop:web`.
        user: String,
        /// The name of the Pod that it is bound to, in the account's namespace.
        pod: Option<String>,
    },
    /// It is not, for this reason.
    Bad(String),
}

/// Why the API server said nothing of a token.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// We may not ask.
    #[error("Pilotage may not create tokenreviews.authentication.k8s.io: {0}")]
    Forbidden(String),
    /// It cannot be reached, or does not answer as it should.
    #[error("{0}")]
    Away(String),
}

/// Whose `token` it is, and whether it is for one of `audiences`.
///
/// # Errors
/// The API server is away, or does not let us ask.
pub async fn review_token(
    connection: &Connection,
    token: &str,
    audiences: &[String],
) -> Result<Review, ReviewError> {
    let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(audiences.to_vec()) };
    let status =
        review(connection, TokenReview { spec, ..TokenReview::default() }).await.map_err(|trouble| {
            match trouble {
                Trouble::Forbidden(reason) => ReviewError::Forbidden(reason),
                Trouble::Away(reason) => ReviewError::Away(reason),
                other => ReviewError::Away(format!("the API server reviews no tokens: {other:?}")),
            }
        })?;
    Ok(verdict(status, audiences))
}

async fn review(connection: &Connection, review: TokenReview) -> Result<TokenReviewStatus, Trouble> {
    let body = serde_json::to_vec(&review).map_err(Trouble::broken)?;
    let request = Request::post(REVIEWS).header(CONTENT_TYPE, "application/json").body(Body::from(body));
    let late = || Trouble::Away(format!("no answer from the API server within {ANSWER_WITHIN:?}"));
    let answer = timeout(ANSWER_WITHIN, connection.send(request.map_err(Trouble::broken)?)).await;
    let answer = answer.map_err(|_| late())?.map_err(Trouble::broken)?;
    let status = answer.status();
    let body = timeout(ANSWER_WITHIN, answer.into_body().collect_bytes()).await.map_err(|_| late())?;
    let body = body.map_err(Trouble::broken)?;
    match status {
        StatusCode::OK | StatusCode::CREATED => Ok(parse::<TokenReview>(&body)?.status.unwrap_or_default()),
        _ => Err(Trouble::of_answer(status, &body)),
    }
}

fn verdict(status: TokenReviewStatus, audiences: &[String]) -> Review {
    if status.authenticated != Some(true) {
        let reason = status.error.filter(|reason| !reason.is_empty());
        return Review::Bad(reason.unwrap_or_else(|| "it is not valid".to_owned()));
    }
    // A server that knows nothing of audiences answers without any, and has not checked them.
    if !status.audiences.unwrap_or_default().iter().any(|audience| audiences.contains(audience)) {
        return Review::Bad(format!("it is not for the audience {}", audiences.join(" or ")));
    }
    let user = status.user.unwrap_or_default();
    let pod = user.extra.unwrap_or_default().remove(POD_NAME).and_then(|names| names.into_iter().next());
    Review::Good { user: user.username.unwrap_or_default(), pod }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    fn status(authenticated: bool, audiences: Option<&[&str]>) -> TokenReviewStatus {
        let extra = [(POD_NAME.to_owned(), vec!["web-1".to_owned()])].into();
        TokenReviewStatus {
            authenticated: Some(authenticated),
            audiences: audiences.map(|audiences| audiences.iter().map(ToString::to_string).collect()),
            user: Some(UserInfo {
                username: Some("system:serviceaccount:shop:web".to_owned()),
                extra: Some(extra),
                ..UserInfo::default()
            }),
            error: None,
        }
    }

    #[test]
    fn a_token_is_good_for_its_audience_alone() {
        let ours = ["pilotage".to_owned()];
        let good = Review::Good { user: "system:serviceaccount:shop:web".into(), pod: Some("web-1".into()) };
        assert_eq!(verdict(status(true, Some(&["pilotage"])), &ours), good);
        for (authenticated, audiences) in
            [(false, Some(&["pilotage"][..])), (true, Some(&["other"])), (true, Some(&[])), (true, None)]
        {
            assert!(
                matches!(verdict(status(authenticated, audiences), &ours), Review::Bad(_)),
                "{audiences:?}"
            );
        }
    }
}
