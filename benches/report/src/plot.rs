//! Plots, as SVG.

use crate::figures::Time;
use crate::tables::{bytes, duration, grouped};
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

type Done = Result<(), Box<dyn Error>>;

fn color(n: usize) -> RGBColor {
    let all = [
        (0xd5, 0x5e, 0),
        (0, 0x72, 0xb2),
        (0, 0x9e, 0x73),
        (0xcc, 0x79, 0xa7),
        (0xe6, 0x9f, 0),
        (0x56, 0xb4, 0xe9),
        (0x55, 0x55, 0x55),
    ];
    let (red, green, blue) = all[n % all.len()];
    RGBColor(red, green, blue)
}

/// The peers of a row, in their order, with their points.
fn series<'a>(all: &'a [Time], row: &str) -> Vec<(&'a str, Vec<&'a Time>)> {
    let mut series: Vec<(&str, Vec<&Time>)> = Vec::new();
    for it in all.iter().filter(|it| it.row == row) {
        match series.iter_mut().find(|(peer, _)| *peer == it.peer) {
            Some((_, points)) => points.push(it),
            None => series.push((&it.peer, vec![it])),
        }
    }
    series
}

/// A line for each peer of a row, on logarithmic axes.
pub fn growth(folder: &Path, all: &[Time], row: &str, title: &str, is_bytes: bool) -> Done {
    let series = series(all, row);
    let points = || series.iter().flat_map(|it| &it.1);
    let (Some(first), Some(last)) = (points().map(|it| it.x).min(), points().map(|it| it.x).max())
    else {
        return Ok(());
    };
    let (least, most) =
        points().fold((f64::MAX, 0_f64), |(low, high), it| (low.min(it.low), high.max(it.high)));
    let path = folder.join(format!("{row}.svg"));
    let area = SVGBackend::new(&path, (820, 460)).into_drawing_area();
    area.fill(&WHITE)?;
    let across = (first as f64..last as f64).log_scale().base(if is_bytes { 4.0 } else { 10.0 });
    let decade = |it: f64| 10_f64.powf(it);
    let up = (decade(least.log10().floor())..decade(most.log10().ceil())).log_scale();
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .margin_right(36)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d(across, up)?;
    let count = |it: &f64| if is_bytes { bytes(*it as u64) } else { grouped(*it as u64) };
    mesh(&mut chart, &count)?;
    for (n, (peer, points)) in series.iter().enumerate() {
        let line = points.iter().map(|it| (it.x as f64, it.median));
        chart
            .draw_series(LineSeries::new(line.clone(), color(n).stroke_width(2)).point_size(3))?
            .label(*peer)
            .legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 18, y)], color(n).stroke_width(2))
            });
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE.mix(0.8))
        .draw()?;
    area.present()?;
    Ok(())
}

fn mesh<X, Y>(
    chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    count: &dyn Fn(&f64) -> String,
) -> Done
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_label_formatter(count)
        .y_label_formatter(&|it| duration(*it))
        .draw()?;
    Ok(())
}

/// A group of bars for each job: the allocators' times, as parts of glibc's.
pub fn allocators(folder: &Path, all: &[Time], jobs: &[&str]) -> Done {
    let peers = ["rawmap", "mimalloc", "jemalloc", "talc", "dlmalloc"];
    let path = folder.join("allocators.svg");
    let area = SVGBackend::new(&path, (900, 460)).into_drawing_area();
    area.fill(&WHITE)?;
    // Between the halves lies the job's name.
    let mut chart = ChartBuilder::on(&area)
        .caption("Processor time as parts of glibc's (1); less is better", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(50)
        .build_cartesian_2d(-0.5..jobs.len() as f64 - 0.5, (0.03..6.0_f64).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_labels(jobs.len())
        .x_label_formatter(&|it| {
            let near = it.round();
            if (it - near).abs() < 0.01 {
                jobs.get(near as usize).copied().unwrap_or("").into()
            } else {
                String::new()
            }
        })
        .draw()?;
    let median = |job: &str, peer: &str| {
        all.iter().find(|it| it.row == job && it.peer == peer).map(|it| it.median)
    };
    let width = 0.8 / peers.len() as f64;
    for (n, peer) in peers.into_iter().enumerate() {
        let bars = jobs.iter().enumerate().filter_map(|(at, job)| {
            let part = (median(job, peer)? / median(job, "glibc")?).clamp(0.03, 6.0);
            let left = at as f64 - 0.4 + n as f64 * width;
            Some(Rectangle::new([(left, 1.0), (left + width * 0.9, part)], color(n).filled()))
        });
        chart
            .draw_series(bars)?
            .label(peer)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color(n).filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE.mix(0.8))
        .draw()?;
    area.present()?;
    Ok(())
}
