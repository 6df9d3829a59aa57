package ulysses.driver.packing;

/**
 * A prompt with a better and a worse answer, encoded; both begin with the same prompt.
 *
 * @param chosen prompt and better answer
 * @param rejected prompt and worse answer
 */
public record EncodedPair(EncodedExample chosen, EncodedExample rejected) implements Encoded {}
