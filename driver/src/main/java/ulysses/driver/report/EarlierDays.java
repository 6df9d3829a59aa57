package ulysses.driver.report;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.config.TrainingConfig.Day;
import ulysses.runtime.config.TuningConfig;
import ulysses.runtime.weights.Folder;

/** What earlier runs of a schedule left: a run of a day goes on from the model of the newest day before it that is done. */
public final class EarlierDays {
    private static final String DATE = "(\\d{4}-\\d{2}-\\d{2})";
    private static final String SAME = "\\1";

    private final Day day;
    private final Configuration hadoop;

    /** Before {@code day}. */
    public EarlierDays(Day day, Configuration hadoop) {
        this.day = day;
        this.hadoop = hadoop;
    }

    /** {@code output_dir} of the newest earlier day that is done; empty before there is one. */
    public Optional<String> newest() {
        String pattern = day.outputDir();
        int begin = pattern.lastIndexOf('/', pattern.indexOf(Day.NAME)) + 1;
        String part = pattern.substring(begin).split("/", 2)[0];
        String[] around = part.split(Pattern.quote(Day.NAME), -1);
        String rest = Arrays.stream(around).skip(1).map(Pattern::quote).collect(Collectors.joining(SAME));
        Pattern dated = Pattern.compile(Pattern.quote(around[0]) + DATE + rest);
        return dates(pattern.substring(0, begin), dated).stream()
                .map(date -> pattern.replace(Day.NAME, date))
                .filter(this::isDone)
                .findFirst();
    }

    /** Before the day, newest first. */
    private List<String> dates(String parent, Pattern dated) {
        return Folder.at(parent.isEmpty() ? "." : parent, hadoop).list().stream()
                .filter(Folder.Entry::isFolder)
                .map(entry -> dated.matcher(entry.name()))
                .filter(Matcher::matches)
                .map(match -> match.group(1))
                .filter(date -> date.compareTo(day.date()) < 0)
                .sorted(Comparator.reverseOrder())
                .toList();
    }

    private boolean isDone(String output) {
        return RunRecord.read(Folder.at(output, hadoop), hadoop).ending() == RunRecord.Ending.DONE;
    }

    /** {@code config} with what {@code earlier} holds to start from: its adapter, or its model. */
    public static TrainingConfig after(String earlier, TrainingConfig config) {
        if (config.tuning() instanceof TuningConfig.Lora lora) {
            return config.withTuning(lora.withAdapters(List.of(earlier)));
        }
        return config.withModel(config.model().trainedIn(earlier));
    }
}
