//! `temp_temp{sensor}` in degrees Celsius from /sys/class/hwmon, else from the thermal zones, named as Telegraf's format
//! v2 does. Read by hand: `sysinfo` puts the device's model into the name and does not honour `HOST_SYS`.
//! Sensors are few and may be hot-plugged, so the folders are listed at every gather.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sentinel_contract::{Cause, Gather, Kind, Metric, Now, Series};

use super::reader::{decimal, read_once, word_of};
use super::series::{Common, Devices, push};

/// Sensors give thousandths of a degree.
const MILLI: f64 = 1000.0;

/// The collector.
pub(super) struct Temp {
    common: Common,
    sensors: Devices<Arc<Series>>,
}

impl Temp {
    pub(super) fn new(common: Common) -> Self {
        Temp { common, sensors: Devices::default() }
    }
}

impl Gather for Temp {
    fn gather(&mut self, now: Now, out: &mut Vec<Metric>) -> Result<(), Cause> {
        let Temp { common, sensors } = self;
        let sys = &common.roots.sys;
        sensors.begin();
        common.scratch.with(|buffer| {
            let mut readings = hwmon(&sys.join("class/hwmon"), buffer);
            if readings.is_empty() {
                readings = zones(&sys.join("class/thermal"), buffer);
            }
            for (sensor, value) in readings {
                let series = sensors.entry(sensor.as_bytes(), || {
                    common.series("temp_temp", Kind::Gauge, &[("sensor", &sensor)])
                });
                if let Some(series) = series {
                    push(out, series, now.time_ms, value);
                }
            }
        });
        sensors.end();
        Ok(())
    }
}

/// `hwmon*/temp*_input`, on old kernels one folder deeper. The name is the chip's, then the sensor's label.
fn hwmon(folder: &Path, buffer: &mut Vec<u8>) -> Vec<(String, f64)> {
    let mut readings = Vec::new();
    for chip in entries(folder, "hwmon") {
        for folder in [chip.join("device"), chip.clone()] {
            for input in entries(&folder, "temp") {
                let file = input.file_name().unwrap_or_default().to_string_lossy();
                let Some(channel) = file.strip_suffix("_input") else { continue };
                let Some(value) = read(&input, buffer) else { continue };
                let device = || std::fs::read_link(folder.join("device")).ok();
                let name = word_of(&folder.join("name"), buffer)
                    .or_else(|| Some(device()?.file_name()?.to_string_lossy().into_owned()));
                let label = word_of(&folder.join(format!("{channel}_label")), buffer);
                let label =
                    label.map(|label| format!("_{}", label.to_lowercase().replace(' ', "_")));
                let name = name.unwrap_or_default() + label.as_deref().unwrap_or_default();
                readings.push((name, value));
            }
        }
    }
    readings
}

fn zones(folder: &Path, buffer: &mut Vec<u8>) -> Vec<(String, f64)> {
    let zone = |path: PathBuf| {
        let name = word_of(&path.join("type"), buffer)?;
        Some((name, read(&path.join("temp"), buffer)?))
    };
    entries(folder, "thermal_zone").into_iter().filter_map(zone).collect()
}

/// The entries of a folder whose name begins with `prefix`, sorted; none when there is no such folder.
fn entries(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(listed) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = listed
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

/// `None` when the sensor sleeps or fails.
fn read(path: &Path, buffer: &mut Vec<u8>) -> Option<f64> {
    Some(decimal(read_once(path, buffer).ok()?.trim_ascii())? / MILLI)
}
