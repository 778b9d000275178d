-- The statements that users of other AI databases know, as their documents print them.

-- A model behind its own web server
CREATE PREDICTOR byom
FROM mydb (
    SELECT number_of_rooms, initial_price, rental_price 
    FROM test_data.home_rentals
) PREDICT number_of_rooms
USING
url.train = 'http://127.0.0.1:8000/my_model/train',
url.predict = 'http://127.0.0.1:8000/my_model/predict',
dtype_dict={"number_of_rooms": "categorical", "initial_price": "integer", "rental_price": "integer"},
format='ray_server';

SELECT * FROM byom WHERE initial_price=3000 AND rental_price=3000;

SELECT tb.number_of_rooms, t.rental_price FROM mydb.test_data.home_rentals AS t JOIN mindsdb.byom AS tb WHERE t.rental_price > 5300;

CREATE PREDICTOR byom2 PREDICT `1` USING url.predict='http://localhost:5000/invocations', format='mlflow', data_dtype={"0": "integer", "1": "integer"};

SELECT y FROM byom2 WHERE `0`=2;

-- Hugging Face
-- Create Huggingface engine
CREATE ML_ENGINE hf_api_engine
FROM huggingface_api
USING
  api_key = 'hf_...';

-- Create a model for text classification
CREATE MODEL mindsdb.hf_sentiment_classifier
PREDICT sentiment
USING
  task = 'text-classification',
  column = 'text',
  engine = 'hf_api_engine';

-- Predict sentiment using model
SELECT text, sentiment
FROM mindsdb.hf_sentiment_classifier
WHERE text = 'I like you. I love you.';

-- Tutorials
CREATE DATABASE example_db
WITH ENGINE = "postgres",
PARAMETERS = {
    "user": "demo_user",
    "password": "demo_password",
    "host": "3.220.66.106",
    "port": "5432",
    "database": "demo"
};

SELECT * FROM example_db.demo_data.home_rentals LIMIT 10;

CREATE MODEL mindsdb.home_rentals_model
FROM example_db
  (SELECT * FROM demo_data.home_rentals)
PREDICT rental_price
USING engine='lightwood', tag='my tag';

SELECT status FROM mindsdb.models WHERE name='home_rentals_model';

DESCRIBE home_rentals_model;
DESCRIBE home_rentals_model.info;
DESCRIBE home_rentals_model.features;
DESCRIBE home_rentals_model.model;

SELECT rental_price, rental_price_explain
FROM mindsdb.home_rentals_model
WHERE sqft=823 AND location='good' AND neighborhood='downtown' AND days_on_market=10;

SELECT t.rental_price AS real_price, m.rental_price AS predicted_price, t.sqft
FROM example_db.demo_data.home_rentals AS t JOIN mindsdb.home_rentals_model AS m LIMIT 100;

CREATE MODEL mindsdb.house_sales_model
FROM files (SELECT * FROM house_sales)
PREDICT MA
ORDER BY saledate
GROUP BY bedrooms, type
WINDOW 8
HORIZON 4;

SELECT m.saledate AS date, m.MA AS forecast
FROM mindsdb.house_sales_model AS m JOIN files.house_sales AS t
WHERE t.saledate > LATEST AND t.type = 'house' AND t.bedrooms = 2
LIMIT 4;

CREATE MODEL spam_classifier
PREDICT PRED
USING
    engine = 'huggingface',
    task = 'text-classification',
    model_name = 'mrm8488/bert-tiny-finetuned-sms-spam-detection',
    input_column = 'text_spammy',
    labels = ['ham', 'spam'];

SELECT h.*, t.text_spammy AS input_text FROM files.df AS t JOIN spam_classifier AS h;

INSERT INTO example_db.predictions (SELECT m.rental_price FROM files.df AS t JOIN home_rentals_model AS m);
CREATE TABLE example_db.predictions (SELECT m.rental_price FROM files.df AS t JOIN home_rentals_model AS m);
CREATE VIEW mindsdb.v AS (SELECT t.sqft, m.rental_price FROM example_db.demo_data.home_rentals AS t JOIN home_rentals_model AS m);

RETRAIN mindsdb.home_rentals_model;
RETRAIN mindsdb.home_rentals_model FROM example_db (SELECT * FROM demo_data.home_rentals) USING tag = 'new';
FINETUNE mindsdb.home_rentals_model FROM example_db (SELECT * FROM demo_data.home_rentals WHERE id > LAST);
EVALUATE mean_absolute_error FROM (
    SELECT t.rental_price AS actual, m.rental_price AS prediction
    FROM example_db.demo_data.home_rentals AS t JOIN mindsdb.home_rentals_model AS m LIMIT 100
);
SELECT * FROM mindsdb.home_rentals_model.1 WHERE sqft=823;
SET active mindsdb.home_rentals_model.1;
CREATE ANOMALY DETECTION MODEL mindsdb.unsupervised_ad FROM files (SELECT * FROM anomaly_detection) USING type = 'unsupervised';
DROP MODEL mindsdb.home_rentals_model;
SHOW MODELS;
SHOW ML_ENGINES;
SHOW HANDLERS WHERE type = 'ml';
SELECT * FROM information_schema.ml_engines;
DROP DATABASE example_db;
