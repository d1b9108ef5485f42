//! The claim with numbers, and what the simulation itself must keep.

use super::paper::story;
use super::*;

fn account(videos: u32, autoscaler: Autoscaler, known: bool) -> Account {
    run(&story(videos, autoscaler, known)).unwrap().account
}

#[test]
fn with_clues_the_new_nodes_of_one_video_come_too_late_and_are_wasted() {
    let clues = account(1, Autoscaler::Clues, true);
    assert_eq!((clues.jobs, clues.wasted_machines, clues.peak), (38, 4, 5), "{clues}");
    let ours = account(1, Autoscaler::Continuum, true);
    assert_eq!((ours.jobs, ours.wasted, ours.peak), (38, 0, 1), "{ours}");
    assert!(ours.makespan <= clues.makespan, "{ours} / {clues}");
}

#[test]
fn with_five_ten_and_twenty_videos_ours_is_faster_with_fewer_node_hours() {
    for videos in [5, 10, 20] {
        let (clues, ours) =
            (account(videos, Autoscaler::Clues, true), account(videos, Autoscaler::Continuum, true));
        assert_eq!((ours.jobs, clues.jobs), (videos as usize * 38, videos as usize * 38));
        assert!(ours.makespan < clues.makespan, "{videos}: {ours} / {clues}");
        assert!(ours.machine_time < clues.machine_time, "{videos}: {ours} / {clues}");
        assert_eq!(ours.wasted, 0, "{videos}: {ours}");
    }
}

#[test]
fn told_what_follows_nodes_are_there_when_the_next_stage_begins() {
    for videos in [1, 5] {
        let told = Story { forecast: true, ..story(videos, Autoscaler::Continuum, true) };
        let told = run(&told).unwrap().account;
        let clues = account(videos, Autoscaler::Clues, true);
        assert_eq!(told.wasted, 0, "{videos}: {told}");
        assert!(told.makespan * 100 < clues.makespan * 95, "{videos}: {told} / {clues}");
    }
}

#[test]
fn what_was_bought_before_a_run_time_was_known_is_called_off_once_it_is() {
    let first = account(1, Autoscaler::Continuum, false);
    let clues = account(1, Autoscaler::Clues, false);
    assert!(first.makespan <= clues.makespan && first.wasted * 10 < clues.wasted, "{first} / {clues}");
}

#[test]
fn the_same_story_is_the_same_twice() {
    let story = story(1, Autoscaler::Continuum, false);
    assert_eq!(run(&story).unwrap(), run(&story).unwrap());
}
