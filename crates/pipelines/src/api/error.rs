//! The error body of the KFP API, and the one mapping from domain errors to it. Mirrors `google.rpc.Status` as grpc-gateway
//! prints it (KFP 2.17); uploads answer in a shape of their own.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use crate::{ir, store};

/// gRPC status codes that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 400
    InvalidArgument = 3,
    /// 404
    NotFound = 5,
    /// 409
    AlreadyExists = 6,
    /// 403
    PermissionDenied = 7,
    /// 400
    FailedPrecondition = 9,
    /// 501
    Unimplemented = 12,
    /// 500
    Internal = 13,
    /// 503
    Unavailable = 14,
    /// 401
    Unauthenticated = 16,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Self::InvalidArgument | Self::FailedPrecondition => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::AlreadyExists => StatusCode::CONFLICT,
            Self::PermissionDenied => StatusCode::FORBIDDEN,
            Self::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
        }
    }
}

/// An answer that is an error.
#[derive(Clone, Debug)]
pub struct ApiError {
    code: Code,
    message: String,
}

impl ApiError {
    /// An error with a code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// The request makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// The same error in the shape of the upload routes.
    pub fn into_upload_response(self) -> Response {
        let body = json!({"error_message": self.message, "error_details": self.message});
        (self.code.status(), Json(body)).into_response()
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Its text.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = self.code as i32;
        let body = json!({
            "code": code,
            "error": self.message,
            "message": self.message,
            "details": [{"@type": "type.googleapis.com/google.rpc.Status", "code": code, "message": self.message}],
        });
        (self.code.status(), Json(body)).into_response()
    }
}

impl From<store::Error> for ApiError {
    fn from(problem: store::Error) -> Self {
        use store::Error;
        let code = match &problem {
            Error::NotFound { .. } => Code::NotFound,
            Error::AlreadyExists { .. } => Code::AlreadyExists,
            Error::Precondition(_) => Code::FailedPrecondition,
            Error::List(_) => Code::InvalidArgument,
            Error::Fenced(_) | Error::NoDriver => Code::Unavailable,
            Error::Unusable(_) => {
                tracing::error!(error = &problem as &dyn std::error::Error, "request failed");
                Code::Unavailable
            }
            Error::Newer { .. }
            | Error::Damaged { .. }
            | Error::Runtime { .. }
            | Error::Database(_)
            | Error::Corrupt { .. }
            | Error::File { .. } => {
                tracing::error!(error = &problem as &dyn std::error::Error, "request failed");
                Code::Internal
            }
        };
        Self::new(code, problem.to_string())
    }
}

impl From<ir::Error> for ApiError {
    fn from(problem: ir::Error) -> Self {
        Self::invalid(problem.to_string())
    }
}

impl From<artifacts::Error> for ApiError {
    fn from(problem: artifacts::Error) -> Self {
        use artifacts::Error;
        let code = match &problem {
            Error::Uri { .. } | Error::Key { .. } | Error::Size(_) => Code::InvalidArgument,
            Error::NotFound(_) | Error::NoStore { .. } => Code::NotFound,
            Error::Io { .. } | Error::Object { .. } | Error::Bucket { .. } => {
                tracing::error!(
                    error = &problem as &dyn std::error::Error,
                    "artifact request failed"
                );
                Code::Internal
            }
        };
        Self::new(code, problem.to_string())
    }
}
