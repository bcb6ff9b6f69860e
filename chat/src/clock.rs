//! The server's clock, read here and nowhere else in the rooms; the pure cores get the time as an argument.

use timeline::WallTime;

pub fn now() -> WallTime {
    std::time::SystemTime::now().into()
}
