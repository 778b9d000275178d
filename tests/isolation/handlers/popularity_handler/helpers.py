def most_frequent(df, column):
    return [str(value) for value in df[column].value_counts().index]
