package ulysses.driver.launch;

/** No rank has run, because too few tasks of the stage were on hosts that are not left out. */
final class TooFewSeatsException extends Exception {
    private static final long serialVersionUID = 1L;

    private final int tasks;
    private final int seats;

    /**
     * @param tasks all tasks of the stage
     * @param seats those on other hosts than the ones that are left out
     */
    TooFewSeatsException(int tasks, int seats) {
        super("%d of %d tasks were on hosts that are not left out".formatted(seats, tasks));
        this.tasks = tasks;
        this.seats = seats;
    }

    int tasks() {
        return tasks;
    }

    int seats() {
        return seats;
    }
}
