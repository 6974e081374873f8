//! Signing in and out: with a one-time code, or with name and password where the console has accounts of its own. The two
//! forms are plain pages without a script, so that they work before anything else does.

use axum::extract::{Form, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use jiff::Timestamp;
use serde::Deserialize;

use crate::accounts::{INITIAL, Refusal};
use crate::identity::{COOKIE, Person, problem};
use crate::router::Door;
use crate::session::{Purpose, SESSION_LIFE};
use crate::{guard, pages};

/// What a one-time address carries.
#[derive(Deserialize)]
pub struct Code {
    code: Option<String>,
}

/// What the sign-in form sends.
#[derive(Deserialize)]
pub struct SignIn {
    user: String,
    password: String,
}

/// What the form for a new password sends.
#[derive(Deserialize)]
pub struct NewPassword {
    old: String,
    new: String,
    again: String,
}

/// `GET /login`: turns a one-time code into a session, or shows the form.
pub async fn show(
    State(door): State<Door>,
    Query(query): Query<Code>,
    headers: HeaderMap,
) -> Response {
    let Some(code) = query.code else {
        return match door.accounts {
            Some(_) => form(StatusCode::OK, ""),
            None => used_up(&headers),
        };
    };
    let now = Timestamp::now();
    let claim = door
        .key
        .verify(&code, Purpose::Code, now)
        .filter(|claim| door.used.take(claim, now));
    match claim {
        Some(claim) => enter(&door, &claim.user, &headers),
        None => used_up(&headers),
    }
}

/// For an address that lets nobody in, or no longer.
fn used_up(headers: &HeaderMap) -> Response {
    if pages::wants_page(headers) {
        // At this path the page says the same, and what to do.
        return pages::page(StatusCode::UNAUTHORIZED);
    }
    problem(
        StatusCode::UNAUTHORIZED,
        "this address was used already, or is over; run `kfctl login` for a new one",
    )
}

/// `POST /login`: name and password.
pub async fn submit(State(door): State<Door>, parts: Parts, Form(given): Form<SignIn>) -> Response {
    if let Err(refusal) = guard::same_origin(&parts) {
        return refusal;
    }
    let Some(accounts) = &door.accounts else {
        return problem(
            StatusCode::NOT_FOUND,
            "there are no passwords on this machine",
        );
    };
    let user = given.user.trim();
    match accounts.sign_in(user, &given.password).await {
        Ok(()) => enter(&door, user, &parts.headers),
        Err(refusal) => form(status(&refusal), &refusal.to_string()),
    }
}

/// `POST /api/logout`.
pub async fn leave(_: Person) -> Response {
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    (
        [(header::SET_COOKIE, cookie)],
        axum::Json(serde_json::json!({})),
    )
        .into_response()
}

/// `GET /password`: the form for a new one.
pub async fn show_password(State(door): State<Door>, person: Result<Person, Response>) -> Response {
    match (&door.accounts, person) {
        (None, _) => problem(
            StatusCode::NOT_FOUND,
            "there are no passwords on this machine",
        ),
        (Some(_), Err(_)) => Redirect::to("/login").into_response(),
        (Some(_), Ok(person)) => password_form(StatusCode::OK, &person.user, "", false),
    }
}

/// `POST /password`.
pub async fn submit_password(
    State(door): State<Door>,
    person: Person,
    parts: Parts,
    Form(given): Form<NewPassword>,
) -> Response {
    if let Err(refusal) = guard::same_origin(&parts) {
        return refusal;
    }
    let Some(accounts) = &door.accounts else {
        return problem(
            StatusCode::NOT_FOUND,
            "there are no passwords on this machine",
        );
    };
    let user = &person.user;
    if given.new != given.again {
        let text = "the new password was typed in two different ways";
        return password_form(StatusCode::BAD_REQUEST, user, text, false);
    }
    match accounts.change(user, &given.old, &given.new).await {
        Ok(()) => password_form(StatusCode::OK, user, "The password is changed.", true),
        Err(refusal) => password_form(status(&refusal), user, &refusal.to_string(), false),
    }
}

/// Begins a session and goes to the first page.
fn enter(door: &Door, user: &str, headers: &HeaderMap) -> Response {
    let session = door.key.sign(user, Purpose::Session, Timestamp::now());
    let is_secure = headers
        .get("x-forwarded-proto")
        .is_some_and(|scheme| scheme == "https");
    let secure = if is_secure { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}",
        SESSION_LIFE.as_secs()
    );
    let mut response = Redirect::to("/").into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    without_a_copy(response)
}

fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Wrong => StatusCode::UNAUTHORIZED,
        Refusal::Later(_) => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Unusable(_) => StatusCode::BAD_REQUEST,
        Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn form(status: StatusCode, message: &str) -> Response {
    let fields = format!(
        "{}<form method=post action=/login>\
         <label>Name<input name=user autocomplete=username autofocus required></label>\
         <label>Password<input name=password type=password autocomplete=current-password required></label>\
         <button>Sign in</button></form>\
         <p class=note>The first password is in the Secret <code>{INITIAL}</code> of the namespace <code>kubeflow</code>.</p>",
        alert(message, false)
    );
    page(status, "Sign in", &fields)
}

fn password_form(status: StatusCode, user: &str, message: &str, is_done: bool) -> Response {
    let user = escape(user);
    let fields = format!(
        "{}<form method=post action=/password>\
         <input type=hidden name=user autocomplete=username value=\"{user}\">\
         <label>Password now<input name=old type=password autocomplete=current-password required></label>\
         <label>New password, 10 characters or more<input name=new type=password autocomplete=new-password minlength=10 required></label>\
         <label>New password again<input name=again type=password autocomplete=new-password minlength=10 required></label>\
         <button>Change the password</button></form>\
         <p class=note>Signed in as {user}. <a href=/>Back to the console</a></p>",
        alert(message, is_done)
    );
    page(status, "Change the password", &fields)
}

fn alert(message: &str, is_good: bool) -> String {
    if message.is_empty() {
        return String::new();
    }
    let (class, role) = if is_good {
        ("good", "status")
    } else {
        ("bad", "alert")
    };
    format!("<p class={class} role={role}>{}</p>", escape(message))
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    const STYLE: &str = "*{box-sizing:border-box}body{font:15px/1.5 system-ui,sans-serif;color:#1c2330;background:#f6f7f9;margin:0;display:grid;min-height:100vh;place-items:center}\
        main{width:min(24rem,calc(100vw - 2rem));background:#fff;border:1px solid #d9dee5;border-radius:8px;padding:1.5rem}\
        h1{font-size:1.2rem;margin:0 0 1rem}label{display:block;margin:0 0 .9rem;font-weight:500}\
        input{display:block;width:100%;font:inherit;padding:.5rem .6rem;margin-top:.25rem;border:1px solid #8b95a3;border-radius:6px;background:transparent;color:inherit}\
        button{font:inherit;font-weight:600;width:100%;padding:.55rem;border:0;border-radius:6px;background:#1f5fd0;color:#fff;cursor:pointer}\
        :focus-visible{outline:2px solid #1f5fd0;outline-offset:2px}.note{color:#4c5666;font-size:.87rem;margin:1rem 0 0}a{color:#1f5fd0}\
        .bad,.good{padding:.5rem .7rem;border-radius:6px;margin:0 0 1rem}.bad{background:#fdecec;color:#8c1d18}.good{background:#e7f5ec;color:#14532d}\
        @media(prefers-color-scheme:dark){body{background:#0f141b;color:#e3e8ef}main{background:#171d26;border-color:#2b3441}.note{color:#a4afbd}a{color:#8ab4ff}.bad{background:#3b1715;color:#ffb4ab}.good{background:#12301f;color:#9ae6b4}}";
    let html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\"><title>{title} - Ferroflow</title><style>{STYLE}</style><main><h1>{title}</h1>{body}</main></html>"
    );
    without_a_copy((status, Html(html)).into_response())
}

fn without_a_copy(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_typed_never_becomes_markup() {
        assert_eq!(
            alert("<script>\"&", false),
            "<p class=bad role=alert>&lt;script&gt;&quot;&amp;</p>"
        );
    }
}
