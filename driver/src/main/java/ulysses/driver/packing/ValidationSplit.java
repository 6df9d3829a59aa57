package ulysses.driver.packing;

import java.io.Serializable;
import ulysses.runtime.data.DataException;

/**
 * Which rows are kept for validation, as LLaMA-Factory chooses them: numpy's permutation of all rows, the first ones are
 * validation, the others training, both in permuted order.
 *
 * @param places place of each row: p in the training set is p, p in the validation set is -p - 1
 */
@SuppressWarnings("ArrayRecordComponent") // four bytes a row; compared nowhere
record ValidationSplit(int[] places) implements Serializable {

    /**
     * Splits {@code rows} rows.
     *
     * @param validationSize {@code val_size}: a fraction below 1, or a number of rows
     */
    static ValidationSplit of(long rows, double validationSize, long seed) {
        if (rows > Integer.MAX_VALUE - 8) {
            throw new DataException("val_size with %d rows; at most %d can be split: name an eval_dataset instead"
                    .formatted(rows, Integer.MAX_VALUE - 8));
        }
        long validation = validationRows(rows, validationSize);
        if (validation >= rows) {
            throw new DataException("val_size %s takes %d of %d rows and leaves none to train on; lower it"
                    .formatted(validationSize, validation, rows));
        }
        int[] permutation = NumpyPermutation.of(seed, (int) rows);
        int[] places = new int[permutation.length];
        for (int i = 0; i < permutation.length; i++) {
            places[permutation[i]] = i < validation ? -i - 1 : i - (int) validation;
        }
        return new ValidationSplit(places);
    }

    static long validationRows(long rows, double validationSize) {
        return validationSize >= 1 ? (long) validationSize : (long) Math.ceil(validationSize * rows);
    }
}
