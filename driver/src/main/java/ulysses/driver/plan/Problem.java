package ulysses.driver.plan;

/**
 * One reason why a run can't start.
 *
 * @param what the setting or thing, as the user knows it
 * @param value what it is
 * @param limit why that does not work
 * @param fix what to do
 */
public record Problem(String what, String value, String limit, String fix) {

    /** One sentence. */
    @Override
    public String toString() {
        return "%s %s %s; %s".formatted(what, value, limit, fix);
    }
}
