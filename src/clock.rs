//! The one place that reads the server's clock.

use std::time::SystemTime;

use timeline::WallTime;

pub fn now() -> WallTime {
    WallTime::from(SystemTime::now())
}
