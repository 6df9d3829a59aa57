package ulysses.driver.report;

import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import ulysses.runtime.mesh.RankEvent;

/** What happened in a run, as a table with its times: attempts, warnings, failures, evaluations, checkpoints. */
record ReportEvents(RunRecord run) {
    private static final int ROWS = 200;
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss 'UTC'", Locale.ROOT)
            .withZone(ZoneOffset.UTC);

    /** Empty when nothing did. */
    String html() {
        List<String> rows = new ArrayList<>();
        int attempt = 0;
        for (TimedEvent timed : run.events()) {
            RankEvent event = timed.event();
            if (event instanceof RankEvent.Phase phase && phase.phase().equals("load")) {
                attempt++;
            }
            words(event, attempt)
                    .ifPresent(words -> rows.add("<tr class=\"%s\"><td>%s</td><td>%s</td></tr>"
                            .formatted(kind(event), TIME.format(timed.time()), words)));
        }
        if (rows.isEmpty()) {
            return "";
        }
        int left = rows.size() - ROWS;
        if (left > 0) {
            rows.subList(ROWS / 2, ROWS / 2 + left).clear();
            rows.add(ROWS / 2, "<tr><td></td><td>… %d more …</td></tr>".formatted(left));
        }
        long warnings = run.events(RankEvent.Warning.class).count();
        return "<p>%s</p><table class=\"log\">%s</table>%n"
                .formatted(
                        warnings == 0 ? "No warnings." : "%d warning(s).".formatted(warnings), String.join("\n", rows));
    }

    private static String kind(RankEvent event) {
        if (event instanceof RankEvent.Failed) {
            return "bad";
        }
        return event instanceof RankEvent.Warning ? "warn" : "plain";
    }

    private static Optional<String> words(RankEvent event, int attempt) {
        if (event instanceof RankEvent.Phase phase && phase.phase().equals("load")) {
            return Optional.of("attempt %d begins".formatted(attempt));
        } else if (event instanceof RankEvent.Warning warning) {
            return Optional.of("warning of rank %d: %s".formatted(warning.rank(), Html.escape(warning.message())));
        } else if (event instanceof RankEvent.Failed failed) {
            String who = failed.rank() == RunRecord.DRIVER ? "the run" : "rank " + failed.rank();
            return Optional.of("%s failed at step %d (%s): %s"
                    .formatted(who, failed.step(), Html.escape(failed.kind()), Html.escape(failed.message())));
        } else if (event instanceof RankEvent.Evaluated evaluated) {
            return Optional.of("evaluation after step %d: %s_loss %s"
                    .formatted(evaluated.step(), Html.escape(evaluated.set()), Html.number(evaluated.loss())));
        } else if (event instanceof RankEvent.Saved saved) {
            return Optional.of("checkpoint of step %d: %s".formatted(saved.step(), Html.escape(saved.path())));
        } else if (event instanceof RankEvent.Done done && done.rank() == 0) {
            return Optional.of("done after %d steps".formatted(done.steps()));
        }
        return Optional.empty();
    }
}
