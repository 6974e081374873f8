//! All the other tests once more as an ordinary user, when they run as root.

use crate::cluster::{PROGRAM_VARIABLE, program};
use crate::ordinary_user::{self, is_root};

#[test]
fn everything_works_for_an_ordinary_user_too() {
    if is_root() {
        let all_others = ["--test-threads=2", "--skip", "again::"];
        ordinary_user::run(&program(), PROGRAM_VARIABLE, &all_others, "test result: ok");
    }
}
