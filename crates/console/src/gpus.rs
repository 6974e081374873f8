//! How busy the graphics processors are. NVIDIA's own program says so, as long as somebody measures; a machine without its
//! driver has none that we could tell of.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// There where the driver is loaded.
const DRIVER: &str = "/proc/driver/nvidia/version";
const MEBIBYTE: u64 = 1024 * 1024;
/// Pause before the program is started anew when it ended.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// All graphics processors together.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Gpus {
    /// How many there are.
    pub count: usize,
    /// Share of their time in which they did something, 0 to 1, on average.
    pub share: f64,
    /// Their memory in use, bytes.
    pub memory_used_bytes: u64,
    /// Their memory, bytes.
    pub memory_total_bytes: u64,
}

/// The last word on each, kept current while it lives.
#[derive(Clone, Default)]
pub struct Watch(Arc<Mutex<BTreeMap<u32, Line>>>);

/// What the program says of one: percent, then memory in MiB.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    percent: f64,
    used: u64,
    total: u64,
}

impl Watch {
    /// Begins to watch where there is anything to watch; ends with the last copy.
    pub fn start() -> Self {
        let watch = Self::default();
        if Path::new(DRIVER).exists() {
            let weak = Arc::downgrade(&watch.0);
            tokio::spawn(async move {
                while weak.strong_count() > 0 {
                    let told = follow(|index, line| match weak.upgrade() {
                        Some(all) => {
                            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                            all.insert(index, line);
                            true
                        }
                        None => false,
                    });
                    if let Err(error) = told.await {
                        tracing::info!(%error, "nvidia-smi does not tell how busy the GPUs are");
                    }
                    // What nobody tells of any more is not known.
                    if let Some(all) = weak.upgrade() {
                        all.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    }
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            });
        }
        watch
    }

    /// All of them now; none where none is known.
    pub fn now(&self) -> Option<Gpus> {
        sum(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reads what the program says, every two seconds, until it ends or `take` wants no more.
async fn follow(take: impl Fn(u32, Line) -> bool) -> std::io::Result<()> {
    let mut child = Command::new("nvidia-smi")
        .args([
            "--query-gpu=index,utilization.gpu,memory.used,memory.total",
            "--format=csv,noheader,nounits",
            "--loop=2",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let Some(output) = child.stdout.take() else {
        return Ok(());
    };
    let mut lines = BufReader::new(output).lines();
    while let Some(text) = lines.next_line().await? {
        if let Some((index, line)) = parse(&text)
            && !take(index, line)
        {
            break;
        }
    }
    Ok(())
}

/// `0, 37, 4096, 81559`; a value that a device does not have is a word in brackets, and counts as nothing.
fn parse(text: &str) -> Option<(u32, Line)> {
    let mut fields = text.split(',').map(str::trim);
    let index = fields.next()?.parse().ok()?;
    let mut number = || fields.next()?.parse::<u64>().ok();
    let (percent, used, total) = (number(), number(), number());
    let line = Line {
        percent: f64::from(u32::try_from(percent.unwrap_or_default()).unwrap_or_default()),
        used: used.unwrap_or_default(),
        total: total.unwrap_or_default(),
    };
    Some((index, line))
}

#[expect(clippy::cast_precision_loss, reason = "a handful of devices")]
fn sum(lines: &BTreeMap<u32, Line>) -> Option<Gpus> {
    if lines.is_empty() {
        return None;
    }
    let percent: f64 = lines.values().map(|line| line.percent).sum();
    Some(Gpus {
        count: lines.len(),
        share: percent / 100.0 / lines.len() as f64,
        memory_used_bytes: lines.values().map(|line| line.used * MEBIBYTE).sum(),
        memory_total_bytes: lines.values().map(|line| line.total * MEBIBYTE).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_device_and_what_it_does_not_say_counts_as_nothing() {
        let line = |percent, used, total| Line {
            percent,
            used,
            total,
        };
        assert_eq!(
            parse("0, 37, 4096, 81559"),
            Some((0, line(37.0, 4096, 81559)))
        );
        assert_eq!(parse("3, [N/A], 1, 2"), Some((3, line(0.0, 1, 2))));
        assert_eq!(parse("No devices were found"), None);
    }

    #[test]
    fn several_devices_are_told_as_one_and_none_as_none() {
        let lines: BTreeMap<u32, Line> = ["0, 100, 10, 100", "1, 50, 30, 100"]
            .into_iter()
            .filter_map(parse)
            .collect();
        let all = sum(&lines).expect("two devices");
        assert_eq!((all.count, all.share), (2, 0.75));
        assert_eq!(
            (all.memory_used_bytes, all.memory_total_bytes),
            (40 * MEBIBYTE, 200 * MEBIBYTE)
        );
        assert_eq!(sum(&BTreeMap::new()), None);
    }
}
